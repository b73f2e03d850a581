"""Fits a checkpoint's tensors to a model's names: prefixes of wrappers are stripped, other differences are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from landscape.errors import CheckpointError, listing, suggest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
PREFIXES = ("model.", "net.", "backbone.")  # one of them is stripped if the result then fits exactly
BATCH_COUNTER = "num_batches_tracked"  # of BatchNorm: old checkpoints lack it, and eval mode does not use it


def strip_wrappers(name: str, known: frozenset[str] = frozenset()) -> str:
    """A name without the parts that wrappers add; a name in `known` is returned unchanged.

    >>> strip_wrappers("module.layer._orig_mod.weight")
    'layer.weight'
    """
    if name in known:
        return name
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def fit(
    tensors: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str, named: str = "model"
) -> tuple[dict[str, Tensor], str]:
    """The tensors under the model's names, and a note of the stripped prefixes ("" without any).

    `model` is the model's state dict; messages call the two `where` and `named`. A tensor that the model has under
    several names (tied weights) may come under one of them. Raises CheckpointError for missing or unexpected
    names and unequal shapes.
    """
    wanted = frozenset(model)
    readings = (
        ({**found, **_tensors_to_add(found, model)}, undone) for found, undone in _readings(tensors, model, where)
    )
    # if no reading fits, the names without any wrapper show best what is missing
    fitting = next((reading for reading in readings if reading[0].keys() == wanted), None)
    fitted, stripped_parts = fitting or _strip_everywhere(tensors, wanted, where)
    fitted |= _tensors_to_add(fitted, model)
    stripped = " and ".join(stripped_parts)
    _require_names(fitted, wanted, f"{where} does not fit the {named}")
    fitted = {name: _as_pairs(tensor, model[name]) for name, tensor in fitted.items()}
    _require_shapes(fitted, model, f"{where} does not fit the {named}")
    _require_tied(fitted, model, where)
    return fitted, stripped and f"stripped {stripped} from {where}"


Reading = tuple[dict[str, "Tensor"], list[str]]  # tensors under other names, and the stripped parts


def _readings(tensors: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str) -> Iterator[Reading]:
    """The readings of the names that are tried, the most literal first."""
    for fitted, undone in _readings_without_wrappers(tensors, frozenset(model), where):
        yield dict(fitted), undone
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in fitted):
                shorter = {name.removeprefix(prefix): tensor for name, tensor in fitted.items()}
                yield shorter, [*undone, f"the prefix {prefix!r}"]
    plain = {strip_wrappers(name): name for name in model}  # a part of the model itself may be compiled
    inner, undone = _strip_everywhere(tensors, frozenset(plain), where)
    if len(plain) == len(model) and inner.keys() <= plain.keys():
        yield {plain[name]: tensor for name, tensor in inner.items()}, undone


def _readings_without_wrappers(tensors: Mapping[str, Tensor], wanted: frozenset[str], where: str) -> Iterator[Reading]:
    """Strips wrappers around the whole model one after the other, then wrappers anywhere in a name."""
    outer, undone = dict(tensors), list[str]()
    yield outer, undone
    while len(first := {name.partition(".")[0] for name in outer}) == 1 and first <= WRAPPERS:
        outer = {name.partition(".")[2]: tensor for name, tensor in outer.items()}
        undone = [*undone, f"the wrapper {next(iter(first))!r}"]
        yield outer, undone
    yield _strip_everywhere(tensors, wanted, where)


def _strip_everywhere(tensors: Mapping[str, Tensor], wanted: frozenset[str], where: str) -> Reading:
    """Strips wrappers wherever they stand in a name; raises CheckpointError if two names become one."""
    fitted = {strip_wrappers(name, wanted): tensor for name, tensor in tensors.items()}
    if len(fitted) < len(tensors):
        raise CheckpointError(
            f"{where} holds weights twice, with and without a wrapper's prefix", fix="keep one of them"
        )
    found = {part for name in tensors.keys() - fitted.keys() for part in name.split(".") if part in WRAPPERS}
    return fitted, [f"the wrapper {part!r}" for part in sorted(found)]


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


def _require_names(found: Iterable[str], wanted: frozenset[str], complaint: str) -> None:
    """Raises CheckpointError for missing and unexpected names; suggests a part of the checkpoint that fits."""
    names = set(found)
    missing, unexpected = sorted(wanted - names), sorted(names - wanted)
    problems = []
    if missing:
        problems.append(f"missing {listing(suggest(name, unexpected) for name in missing)}")
    if unexpected:
        problems.append(f"unexpected {listing(unexpected)}")
    if problems:
        part = next((first for first in _first_parts(names) if _names_below(names, first) == wanted), None)
        raise CheckpointError(
            f"{complaint}: {'; '.join(problems)}",
            fix=f"measure that part alone: --weights '{part}.*'"
            if part
            else "name the model that these weights were trained in: --model pkg.mod:factory, --model-arg key=value",
        )


def _first_parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def _names_below(names: Iterable[str], first: str) -> set[str]:
    return {name.removeprefix(f"{first}.") for name in names if name.startswith(f"{first}.")}


def _require_shapes(found: Mapping[str, Tensor], model: Mapping[str, Tensor], complaint: str) -> None:
    unequal = [
        f"{name} is {tuple(found[name].shape)} there and {tuple(model[name].shape)} in the model"
        for name in model
        if found[name].shape != model[name].shape
    ]
    if unequal:
        raise CheckpointError(
            f"{complaint}: {listing(unequal, 3)}",
            fix="give the model's sizes: --model-arg key=value",
        )
