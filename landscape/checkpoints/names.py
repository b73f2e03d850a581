"""Fits a checkpoint's tensors to a model's names: prefixes of wrappers are stripped, other differences are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from posixpath import commonprefix
from typing import TYPE_CHECKING, NamedTuple

from landscape.errors import CheckpointError, listing, safe_excerpt, shell_line, suggest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
PREFIXES = ("model.", "net.", "backbone.")  # one of them is stripped if the result then fits exactly
MAX_IGNORED = 8  # flags that an error offers
MOST = 0.5  # of a model's parameters: an error does not offer to leave more of them out
MAX_PARTS = 50  # of the names that are compared with a model's
MAX_KEPT = 50  # names of tensors that a note lists
BATCH_COUNTER = "num_batches_tracked"  # of BatchNorm: old checkpoints lack it, and eval mode does not use it


def strip_wrappers(name: str, known: frozenset[str] = frozenset()) -> str:
    """A name without the parts that wrappers add; a name in `known` is returned unchanged.

    >>> strip_wrappers("module.layer._orig_mod.weight")
    'layer.weight'
    """
    if name in known:
        return name
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


class Reading(NamedTuple):
    """The tensors under other names, the parts that were stripped from these, and what was put in front of them."""

    tensors: dict[str, Tensor]
    stripped: list[str]
    put: str = ""

    def note(self, where: str) -> str:
        """What was done to the names; "" if nothing was."""
        stripped = f"stripped {' and '.join(self.stripped)} from {where}" if self.stripped else ""
        return stripped or (f"put {self.put!r} in front of the names in {where}" if self.put else "")


def fit(
    tensors: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    where: str,
    named: str = "model",
    *,
    prefix: str = "",
    unread: Mapping[str, str] = {},
    partial: bool = False,
) -> tuple[dict[str, Tensor], str]:
    """The tensors under the model's names, and a note on what was done to the names ("" if nothing was).

    `model` is the model's state dict; messages call the two `where` and `named`. A tensor that the model has under
    several names (tied weights) may come under one of them. `prefix` is tried in front of all names. With `partial`
    tensors that are missing keep the model's values, and the note names them. Raises CheckpointError for missing or
    unexpected names, for names of `unread`, which are no tensors in the checkpoint, and for unequal shapes.
    """
    wanted, complaint = frozenset(model), f"{where} does not fit the {named}"
    readings = _readings(tensors, model, where, prefix)
    if partial:
        reading = _closest(list(readings), wanted, complaint)
    else:  # if no reading fits, the names without any wrapper show best what is missing
        whole = (one for one in readings if {**one.tensors, **_tensors_to_add(one.tensors, model)}.keys() == wanted)
        reading = next(whole, None) or _strip_everywhere(tensors, wanted, where)
    fitted = reading.tensors | _tensors_to_add(reading.tensors, model)
    _require_read(unread, wanted - fitted.keys(), prefix, complaint)
    kept = {name: model[name] for name in model if partial and name not in fitted}
    fitted |= kept
    _require_names(fitted, model, complaint)
    fitted = {name: _as_pairs(tensor, model[name]) for name, tensor in fitted.items()}
    _require_shapes(fitted, model, complaint)
    _require_kinds(fitted, model, complaint)
    _require_tied(fitted, model, where)
    notes = [reading.note(where), partial and _partial_note(reading.tensors, kept, where)]
    return fitted, "; ".join(note for note in notes if note)


def _closest(readings: list[Reading], wanted: frozenset[str], complaint: str) -> Reading:
    """The reading with the most of the model's names; raises CheckpointError if none has any."""
    closest = max(readings, key=lambda reading: len(reading.tensors.keys() & wanted))
    if not closest.tensors.keys() & wanted:
        raise CheckpointError(
            f"{complaint}: --partial finds none of the model's names in it",
            why=f"it has {listing(map(safe_excerpt, closest.tensors), 3)}, and the model {listing(sorted(wanted), 3)}",
            fix="name the part of the model that they belong to: --weights PART=LOCATION, or another --model",
        )
    return closest


def _partial_note(taken: Mapping[str, Tensor], kept: Mapping[str, Tensor], where: str) -> str:
    rest = f"{len(kept)} kept from the model's factory: {listing(kept, MAX_KEPT)}" if kept else "none is missing"
    return f"partial: {len(taken)} tensors from {where}; {rest}"


def _require_read(unread: Mapping[str, str], missing: Set[str], prefix: str, complaint: str) -> None:
    """Raises CheckpointError if a tensor that the model lacks is a Python object in the checkpoint."""
    spellings = {
        spelling: kind
        for name, kind in unread.items()
        for spelling in (name, strip_wrappers(name), prefix + name, *(name.removeprefix(one) for one in PREFIXES))
    }
    if objects := sorted(missing & spellings.keys()):
        raise CheckpointError(
            f"{complaint}: {listing(f'{name} is a {safe_excerpt(spellings[name])} in it' for name in objects)}",
            why="it is opened as data only: Python objects are passed over, and not made into tensors",
            fix="save tensors in their place: torch.save(model.state_dict(), path)",
        )


def _readings(
    tensors: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str, before: str = ""
) -> Iterator[Reading]:
    """The readings of the names that are tried, the most literal first."""
    for fitted, undone, _ in _readings_without_wrappers(tensors, frozenset(model), where):
        yield Reading(dict(fitted), undone)
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in fitted):
                shorter = {name.removeprefix(prefix): tensor for name, tensor in fitted.items()}
                yield Reading(shorter, [*undone, f"the prefix {prefix!r}"])
    plain = {strip_wrappers(name): name for name in model}  # a part of the model itself may be compiled
    inner, undone, _ = _strip_everywhere(tensors, frozenset(plain), where)
    if len(plain) == len(model) and inner.keys() <= plain.keys():
        yield Reading({plain[name]: tensor for name, tensor in inner.items()}, undone)
    if before:
        yield Reading({before + name: tensor for name, tensor in tensors.items()}, [], before)


def _readings_without_wrappers(tensors: Mapping[str, Tensor], wanted: frozenset[str], where: str) -> Iterator[Reading]:
    """Strips wrappers around the whole model one after the other, then wrappers anywhere in a name."""
    outer, undone = dict(tensors), list[str]()
    yield Reading(outer, undone)
    while len(first := {name.partition(".")[0] for name in outer}) == 1 and first <= WRAPPERS:
        outer = {name.partition(".")[2]: tensor for name, tensor in outer.items()}
        undone = [*undone, f"the wrapper {next(iter(first))!r}"]
        yield Reading(outer, undone)
    yield _strip_everywhere(tensors, wanted, where)


def _strip_everywhere(tensors: Mapping[str, Tensor], wanted: frozenset[str], where: str) -> Reading:
    """Strips wrappers wherever they stand in a name; raises CheckpointError if two names become one."""
    fitted = {strip_wrappers(name, wanted): tensor for name, tensor in tensors.items()}
    if len(fitted) < len(tensors):
        raise CheckpointError(
            f"{where} holds weights twice, with and without a wrapper's prefix", fix="keep one of them"
        )
    found = {part for name in tensors.keys() - fitted.keys() for part in name.split(".") if part in WRAPPERS}
    return Reading(fitted, [f"the wrapper {part!r}" for part in sorted(found)])


def _tensors_to_add(found: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that a checkpoint may lack: further names of tied tensors, and batch counters."""
    first = {_identity(tensor): name for name, tensor in model.items() if name in found and tensor.numel()}
    missing = [name for name in model if name not in found]
    tied = {name: found[first[_identity(model[name])]] for name in missing if _identity(model[name]) in first}
    return tied | {name: model[name] for name in missing if name.rpartition(".")[2] == BATCH_COUNTER}


def _identity(tensor: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    """A key that is equal for two names of one tensor."""
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _as_pairs(tensor: Tensor, wanted: Tensor) -> Tensor:
    """A complex tensor as pairs of reals, where the model holds it so (`torch.view_as_real`); else as it is."""
    pairs = tensor.is_complex() and not wanted.is_complex() and wanted.shape == (*tensor.shape, 2)
    if not pairs:
        return tensor
    parts = tensor.real.new_empty(wanted.shape)
    parts[..., 0], parts[..., 1] = tensor.real, tensor.imag
    return parts


def find_casts(found: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that torch would cast to what loses their meaning: integers and complex to real numbers.

    Integers in the place of real numbers are quantized, and mean nothing without their scale.
    """
    real = [name for name in model if name in found and model[name].is_floating_point()]
    return [name for name in real if not found[name].is_floating_point()]


def _require_kinds(found: Mapping[str, Tensor], model: Mapping[str, Tensor], complaint: str) -> None:
    """Raises CheckpointError for integers and complex numbers where the model has real ones."""
    if casts := find_casts(found, model):
        dtypes = [f"{name} is {found[name].dtype} there and {model[name].dtype} in the model" for name in casts]
        raise CheckpointError(
            f"{complaint}: {listing((words.replace('torch.', '') for words in dtypes), 3)}",
            why="integers are weights only with their scale, and complex numbers only with both parts",
            fix="save quantized weights dequantized; for complex ones a model that holds torch.view_as_real(w)",
        )


def _require_tied(found: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str) -> None:
    """Raises CheckpointError if tied tensors of the model have different values in the checkpoint."""
    first: dict[object, str] = {}
    for name, tensor in model.items():
        other = first.setdefault(_identity(tensor), name)
        shared = found[name].data_ptr() == found[other].data_ptr()  # so that NaN counts as equal
        if tensor.numel() and not shared and not found[name].equal(found[other]):
            raise CheckpointError(
                f"{where} has different weights for {other} and {name}, which are one tensor in the model",
                fix="build the model without tying them",
            )


def _require_names(found: Iterable[str], model: Mapping[str, Tensor], complaint: str) -> None:
    """Raises CheckpointError for missing and unexpected names; suggests a part of the checkpoint that fits."""
    names, wanted = set(found), frozenset(model)
    missing, unexpected = sorted(wanted - names), sorted(names - wanted)
    problems = []
    if missing:
        problems.append(f"missing {listing(suggest(name, unexpected) for name in missing)}")
    if unexpected:
        problems.append(f"unexpected {listing(unexpected)}")
    if problems:
        raise CheckpointError(f"{complaint}: {'; '.join(problems)}", fix=_remedy(names, model, missing, unexpected))


def _are_most(names: Iterable[str], model: Mapping[str, Tensor]) -> bool:
    """Whether these tensors hold most of the model's parameters: without them it is a net with random weights."""
    total = sum(tensor.numel() for tensor in model.values())
    return sum(model[name].numel() for name in names) > MOST * total


def _remedy(names: set[str], model_state: Mapping[str, Tensor], missing: list[str], unexpected: list[str]) -> str:
    """What to type if names are missing or unexpected."""
    wanted = frozenset(model_state)
    if parts := _parts_that_fit(names, wanted):
        which = "that part" if len(parts) == 1 else "one of the parts that fit"
        return f"measure {which} alone: {' or '.join(f'--weights {shell_line([part])}' for part in parts[:4])}"
    model = "name the model that these weights were trained in: --model pkg.mod:factory, --model-arg key=value"
    if not unexpected and not _are_most(missing, model_state):
        return f"{model}; or let the model's factory hold what is missing: --partial"
    if not missing:
        others = [f"{first}.*" for first in _first_parts(unexpected) if not _names_below(wanted, first)]
        globs = others if all(any(fnmatchcase(n, glob) for glob in others) for n in unexpected) else unexpected
        return f"{model}; or leave them out: {_ignoring(globs, wanted)}"
    return model


def _parts_that_fit(names: set[str], wanted: frozenset[str]) -> list[str]:
    """The parts of the names, `net.*` at any depth, that are all names of the model and no others."""
    last = min(wanted, default="")
    ends = sorted(name.removesuffix(f".{last}") for name in names if last and name.endswith(f".{last}"))
    return [f"{part}.*" for part in ends[:MAX_PARTS] if _names_below(names, part) == wanted]


def _ignoring(globs: Sequence[str], wanted: Iterable[str]) -> str:
    """The flags that leave tensors out, as they are typed; by one glob if there are many with one beginning."""
    beginning = commonprefix(globs)
    if len(globs) > MAX_IGNORED and beginning and not any(name.startswith(beginning) for name in wanted):
        globs = [f"{beginning}*"]
    flags = [f"--ignore {shell_line([glob])}" for glob in globs]
    return " ".join(flags) if len(flags) <= MAX_IGNORED else listing(flags, MAX_IGNORED)


def _first_parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def _names_below(names: Iterable[str], first: str) -> set[str]:
    return {name.removeprefix(f"{first}.") for name in names if name.startswith(f"{first}.")}


def _require_shapes(found: Mapping[str, Tensor], model: Mapping[str, Tensor], complaint: str) -> None:
    wrong = [name for name in model if found[name].shape != model[name].shape]
    unequal = [f"{n} is {tuple(found[n].shape)} there and {tuple(model[n].shape)} in the model" for n in wrong]
    if unequal:
        fix = "give the model's sizes: --model-arg key=value"
        if any(not found[name].numel() for name in wrong):  # ZeRO-3 leaves empty tensors in the places of its parts
            fix = "the file has empty tensors: put a sharded checkpoint together first (DeepSpeed: zero_to_fp32.py)"
        elif _are_most(wrong, model):
            fix += ", or name the model that these weights were trained in: --model pkg.mod:factory"
        elif len(wrong) <= MAX_IGNORED:
            fix += f"; or let the model's factory hold them: --partial {_ignoring(wrong, ())}"
        raise CheckpointError(f"{complaint}: {listing(unequal, 3)}", fix=fix)
