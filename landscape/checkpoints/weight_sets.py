"""Where in a file the weights are: the nests in which training scripts put them, and averaged weights beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.checkpoints.formats.tensor_refs import OddTensor, TensorRef
from landscape.errors import CheckpointError, listing, safe_excerpt, suggest

RAW = ("state_dict", "model_state_dict", "model", "model_state", "module", "net", "network", "weights", "params")
AVERAGED = (
    *("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema", "params_ema"),
    *("ema_model_state_dict", "swa_state_dict", "swa_model", "averaged_model"),
)
PREFIXES = ("model_ema.", "ema_model.", "ema.", "averaged_model.", "swa_model.")  # averages inside one state dict
OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")
NOT_WEIGHTS = (*OPTIMIZERS, "landscape_data", "callbacks", "loops")
MAX_DEPTH = 4  # of nests in nests
MAX_NAME_LENGTH = 1000  # characters of a tensor's name
EMA, ALL_BUT_EMA = "ema", "raw"
Tensors = dict[str, TensorRef | OddTensor]


@dataclass(frozen=True)
class WeightSet:
    """Named tensors and where in the file they are; "" is the file's own top."""

    place: str
    tensors: Tensors
    averaged: bool = False


@dataclass(frozen=True)
class Selection:
    """The weights to measure, and what is said of the choice."""

    nest: WeightSet
    notes: tuple[str, ...] = ()


def select_weights(tree: Any, wanted: str | None, path: Path) -> Selection:
    """The weights among everything in the file: the raw ones, unless `wanted` is `ema` or the place of others.

    Raises CheckpointError if there are none, several sets of which none goes without saying, or names that nobody
    could read.
    """
    choice = _chosen(tree, wanted, path)
    unreadable = [name for name in choice.nest.tensors if not name.isprintable() or len(name) > MAX_NAME_LENGTH]
    if unreadable:
        raise CheckpointError(
            f"{path} has names that cannot be printed: {listing(map(safe_excerpt, unreadable))}",
            fix="name the tensors as a model's state dict does",
        )
    return choice


def _chosen(tree: Any, wanted: str | None, path: Path) -> Selection:
    every = list(find_weight_sets(tree))
    if wanted and wanted.endswith(".*") and all(nest.place != wanted for nest in every):
        return _beginning(wanted.removesuffix("*"), _chosen(tree, None, path), path)
    if wanted == EMA:
        return _averaged(every, path)
    if wanted not in (None, ALL_BUT_EMA):
        return _placed(str(wanted), every, path)
    if not every:
        raise _nothing(tree, path)
    if all(nest.averaged for nest in every):
        if wanted == ALL_BUT_EMA:
            fix = f"{_offered(every)}, or --weights ema"
            raise CheckpointError(f"{path} holds averaged weights only, no raw ones", fix=fix)
        return Selection(every[0], (f"the only weights are averaged ones{_in(every[0])}",))
    return _raw(every, path)


def _averaged(every: list[WeightSet], path: Path) -> Selection:
    chosen = next((nest for nest in every if nest.averaged), None)
    if chosen is None:
        raise CheckpointError(
            f"{path} holds no averaged weights",
            why=f"looked for {listing(AVERAGED, 20)}, and for names that begin with {listing(PREFIXES)}",
            fix=_offered(every),
        )
    return Selection(chosen, (f"the averaged weights{_in(chosen)}",))


def _raw(every: list[WeightSet], path: Path) -> Selection:
    """The weights in a usual place, or the only ones that are no averages."""
    raw = [nest for nest in every if not nest.averaged]
    standing = [nest for nest in raw if nest.place.rpartition(".")[2] in (*RAW, "")]
    if not standing and len(raw) > 1:
        raise CheckpointError(f"{path} holds several sets of weights", fix=_offered(every))
    chosen, *others = standing or raw
    notes = []
    if others or not standing:
        beside = f"; also there: {listing(nest.place for nest in others)} (--weights)" if others else ""
        notes.append(f"the weights{_in(chosen)}{beside}")
    if averaged := next((nest for nest in every if nest.averaged), None):
        notes.append(f"averaged weights are there too{_in(averaged)}: --weights ema measures them")
    return Selection(chosen, tuple(notes))


def optimizer_state(tree: Any) -> Mapping[str, Any] | None:
    """The optimiser's state dict among the entries, if there is one."""
    for name in OPTIMIZERS if isinstance(tree, Mapping) else ():
        entry = tree.get(name)
        entry = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
        if isinstance(entry, Mapping) and {"state", "param_groups"} <= entry.keys():
            return entry
    return None


def find_weight_sets(tree: Any) -> Iterator[WeightSet]:
    """Every set of named tensors, those where weights usually are first."""
    yield from _weight_sets_below(tree, "", averaged=False, depth=0, seen=set())


def _weight_sets_below(inside: Any, place: str, *, averaged: bool, depth: int, seen: set[int]) -> Iterator[WeightSet]:
    if not isinstance(inside, Mapping) or depth > MAX_DEPTH or id(inside) in seen:
        return
    seen.add(id(inside))  # a file may hold one part in a thousand places
    words = [key for key in inside if isinstance(key, str) and key not in NOT_WEIGHTS and key.isprintable()]
    rank = {name: order for order, name in enumerate((*RAW, *AVERAGED))}
    below = sorted(words, key=lambda word: rank.get(word, len(rank)))
    words_of = ((name, value) for name, value in inside.items() if isinstance(name, str))
    own = {name: value for name, value in words_of if isinstance(value, TensorRef | OddTensor)}
    deeper = [
        nest
        for word in below
        for nest in _weight_sets_below(
            inside[word],
            f"{place}.{word}" if place else word,
            averaged=averaged or word in AVERAGED,
            depth=depth + 1,
            seen=seen,
        )
    ]
    named = any(nest.place.rpartition(".")[2] in RAW and not nest.averaged for nest in deeper)
    loose = len(own) == 1 and bool(deeper)
    if own and not named and not loose:  # a number kept beside a nest (an epoch as a tensor) is no weight
        yield from _divided(own, place, averaged=averaged)
    yield from deeper


def _divided(tensors: Tensors, place: str, *, averaged: bool) -> Iterator[WeightSet]:
    """Weights and their averages in one state dict; the wrapper of torch's AveragedModel is undone."""
    if "n_averaged" in tensors and len(tensors) > 1:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}
        averaged = True
    for prefix in PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        others = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
        # a model may have a part of that name: averages have the names of what they average
        same = inside.keys() in (others.keys(), {name.removeprefix("model.") for name in others})
        if inside and same and not averaged:
            yield WeightSet(place, others)
            yield WeightSet(f"{place}.{prefix}*" if place else f"{prefix}*", inside, averaged=True)
            return
    yield WeightSet(place, tensors, averaged)


def _placed(wanted: str, every: list[WeightSet], path: Path) -> Selection:
    found = next((nest for nest in every if nest.place == wanted), None)
    if found is None:
        raise CheckpointError(
            f"{path} holds no weights called {suggest(wanted, [nest.place for nest in every])}", fix=_offered(every)
        )
    return Selection(found, (f"the weights in {found.place}",))


def _beginning(prefix: str, choice: Selection, path: Path) -> Selection:
    """Of the chosen weights those whose names begin with a prefix, without it."""
    inside = {name.removeprefix(prefix): t for name, t in choice.nest.tensors.items() if name.startswith(prefix)}
    if not inside:
        raise CheckpointError(
            f"{path} has no weights whose names begin with {prefix}",
            fix=f"names begin with {listing(dict.fromkeys(name.partition('.')[0] for name in choice.nest.tensors))}",
        )
    left = len(choice.nest.tensors) - len(inside)
    return Selection(
        WeightSet(f"{prefix}*", inside), (f"the weights whose names begin with {prefix}; {left} others left out",)
    )


def _in(nest: WeightSet) -> str:
    return f" in {nest.place}" if nest.place else ""


def _offered(every: list[WeightSet]) -> str:
    named = [nest.place for nest in every if nest.place]
    return f"one of: {listing((f'--weights {place}' for place in named), 8)}" if named else "leave --weights out"


def _nothing(tree: Any, path: Path) -> CheckpointError:
    if not isinstance(tree, Mapping):
        return CheckpointError(
            f"{path} holds {kind_with_article(tree)}, not a dictionary of tensors",
            fix="torch.save(model.state_dict(), path)",
        )
    entries = listing(
        f"{safe_excerpt(getattr(name, 'kind', name))} ({kind_with_article(value)})" for name, value in tree.items()
    )
    return CheckpointError(
        f"{path} holds no tensors by name, only: {entries or 'an empty dictionary'}",
        fix="save a state dict, or {'state_dict': model.state_dict()}",
    )


def kind_with_article(value: Any) -> str:
    """What a value is, in a word with its article."""
    kind = "Tensor" if isinstance(value, TensorRef) else getattr(value, "kind", type(value).__name__)
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
