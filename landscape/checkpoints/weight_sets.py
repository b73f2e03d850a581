"""Sets of weights in a checkpoint: where training scripts keep them, and averaged weights beside raw ones."""

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
AVERAGED_PREFIXES = ("model_ema.", "ema_model.", "ema.", "averaged_model.", "swa_model.")  # inside one state dict
OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")
NOT_WEIGHTS = (*OPTIMIZERS, "landscape_data", "callbacks", "loops")
MAX_DEPTH = 4  # of dictionaries in dictionaries
MAX_NAME_LENGTH = 1000  # characters of a tensor's name
EMA, ALL_BUT_EMA = "ema", "raw"
Tensors = dict[str, TensorRef | OddTensor]


@dataclass(frozen=True)
class WeightSet:
    """Named tensors, and their location in the file: the keys that lead to them, joined by dots; "" is the top."""

    location: str
    tensors: Tensors
    averaged: bool = False

    @property
    def key(self) -> str:
        """The last key of the location."""
        return self.location.rpartition(".")[2]


@dataclass(frozen=True)
class Selection:
    """The weights to measure, and notes on why these."""

    weight_set: WeightSet
    notes: tuple[str, ...] = ()


def select_weights(tree: Any, wanted: str | None, path: Path) -> Selection:
    """Selects one set of weights in a file: the raw ones, unless `wanted` is `ema` or the location of another set.

    Raises CheckpointError if the file holds no weights, several sets of which none is the usual one, or names that
    cannot be printed.
    """
    selection = _select(tree, wanted, path)
    tensors = selection.weight_set.tensors
    unreadable = [name for name in tensors if not name.isprintable() or len(name) > MAX_NAME_LENGTH]
    if unreadable:
        raise CheckpointError(
            f"{path} has names that cannot be printed: {listing(map(safe_excerpt, unreadable))}",
            fix="name the tensors as a model's state dict does",
        )
    return selection


def find_weight_sets(tree: Any) -> Iterator[WeightSet]:
    """Every set of named tensors in a file, those at usual locations first."""
    yield from _weight_sets_below(tree, "", averaged=False, depth=0, seen=set())


def optimizer_state(tree: Any) -> Mapping[str, Any] | None:
    """The optimizer's state dict among a file's entries, if there is one."""
    for name in OPTIMIZERS if isinstance(tree, Mapping) else ():
        entry = tree.get(name)
        entry = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
        if isinstance(entry, Mapping) and {"state", "param_groups"} <= entry.keys():
            return entry
    return None


def kind_with_article(value: Any) -> str:
    """The type of a value with its article: `a dict`, `an int`."""
    kind = "Tensor" if isinstance(value, TensorRef) else getattr(value, "kind", type(value).__name__)
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


# -- selecting -----------------------------------------------------------------------------------------------------


def _select(tree: Any, wanted: str | None, path: Path) -> Selection:
    weight_sets = list(find_weight_sets(tree))
    if wanted and wanted.endswith(".*") and all(one.location != wanted for one in weight_sets):
        return _select_prefix(wanted.removesuffix("*"), _select(tree, None, path), path)
    if wanted == EMA:
        return _select_average(weight_sets, path)
    if wanted not in (None, ALL_BUT_EMA):
        return _select_location(str(wanted), weight_sets, path)
    if not weight_sets:
        raise _no_weights(tree, path)
    if all(weight_set.averaged for weight_set in weight_sets):
        if wanted == ALL_BUT_EMA:
            fix = f"{_offer(weight_sets)}, or --weights ema"
            raise CheckpointError(f"{path} holds averaged weights only, no raw ones", fix=fix)
        return Selection(weight_sets[0], (f"the only weights are averaged ones{_at(weight_sets[0])}",))
    return _select_raw(weight_sets, path)


def _select_average(weight_sets: list[WeightSet], path: Path) -> Selection:
    selected = next((weight_set for weight_set in weight_sets if weight_set.averaged), None)
    if selected is None:
        raise CheckpointError(
            f"{path} holds no averaged weights",
            why=f"looked for {listing(AVERAGED, 20)}, and for names that begin with {listing(AVERAGED_PREFIXES)}",
            fix=_offer(weight_sets),
        )
    return Selection(selected, (f"the averaged weights{_at(selected)}",))


def _select_raw(weight_sets: list[WeightSet], path: Path) -> Selection:
    """Selects the raw weights at a usual location, or the only raw ones."""
    raw = [weight_set for weight_set in weight_sets if not weight_set.averaged]
    usual = [weight_set for weight_set in raw if weight_set.key in (*RAW, "")]
    if not usual and len(raw) > 1:
        raise CheckpointError(f"{path} holds several sets of weights", fix=_offer(weight_sets))
    selected, *others = usual or raw
    notes = []
    if others or not usual:
        also = f"; also there: {listing(other.location for other in others)} (--weights)" if others else ""
        notes.append(f"the weights{_at(selected)}{also}")
    if averaged := next((weight_set for weight_set in weight_sets if weight_set.averaged), None):
        notes.append(f"averaged weights are there too{_at(averaged)}: --weights ema measures them")
    return Selection(selected, tuple(notes))


def _select_location(wanted: str, weight_sets: list[WeightSet], path: Path) -> Selection:
    selected = next((weight_set for weight_set in weight_sets if weight_set.location == wanted), None)
    if selected is None:
        names = [weight_set.location for weight_set in weight_sets]
        raise CheckpointError(f"{path} holds no weights called {suggest(wanted, names)}", fix=_offer(weight_sets))
    return Selection(selected, (f"the weights in {selected.location}",))


def _select_prefix(prefix: str, selection: Selection, path: Path) -> Selection:
    """Selects the tensors whose names begin with a prefix, under their names without it."""
    tensors = selection.weight_set.tensors
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not inside:
        raise CheckpointError(
            f"{path} has no weights whose names begin with {prefix}",
            fix=f"names begin with {listing(dict.fromkeys(name.partition('.')[0] for name in tensors))}",
        )
    note = f"the weights whose names begin with {prefix}; {len(tensors) - len(inside)} others left out"
    return Selection(WeightSet(f"{prefix}*", inside), (note,))


def _at(weight_set: WeightSet) -> str:
    return f" in {weight_set.location}" if weight_set.location else ""


def _offer(weight_sets: list[WeightSet]) -> str:
    """What a user may write instead, for an error's fix."""
    locations = [weight_set.location for weight_set in weight_sets if weight_set.location]
    if not locations:
        return "leave --weights out"
    return f"one of: {listing((f'--weights {location}' for location in locations), 8)}"


def _no_weights(tree: Any, path: Path) -> CheckpointError:
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


# -- finding -------------------------------------------------------------------------------------------------------


def _weight_sets_below(
    entries: Any, location: str, *, averaged: bool, depth: int, seen: set[int]
) -> Iterator[WeightSet]:
    """The sets of weights in a dictionary and in those below it, which `seen` holds by their ids."""
    if not isinstance(entries, Mapping) or depth > MAX_DEPTH or id(entries) in seen:
        return
    seen.add(id(entries))  # a file may hold one dictionary in a thousand places
    keys = [key for key in entries if isinstance(key, str) and key not in NOT_WEIGHTS and key.isprintable()]
    rank = {name: order for order, name in enumerate((*RAW, *AVERAGED))}
    below = [
        weight_set
        for key in sorted(keys, key=lambda key: rank.get(key, len(rank)))
        for weight_set in _weight_sets_below(
            entries[key],
            f"{location}.{key}" if location else key,
            averaged=averaged or key in AVERAGED,
            depth=depth + 1,
            seen=seen,
        )
    ]
    named = ((name, value) for name, value in entries.items() if isinstance(name, str))
    own = {name: value for name, value in named if isinstance(value, TensorRef | OddTensor)}
    has_raw_below = any(weight_set.key in RAW and not weight_set.averaged for weight_set in below)
    stray = len(own) == 1 and bool(below)  # a number beside a state dict (an epoch as a tensor) is no weight
    if own and not has_raw_below and not stray:
        yield from _separate_averages(own, location, averaged=averaged)
    yield from below


def _separate_averages(tensors: Tensors, location: str, *, averaged: bool) -> Iterator[WeightSet]:
    """Weights and their averages in one state dict, as two sets; torch's AveragedModel counts its averages there."""
    if "n_averaged" in tensors and len(tensors) > 1:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}
        averaged = True
    for prefix in AVERAGED_PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        others = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
        # a model may have a part of that name: averages have the names of the weights that they average
        same_names = inside.keys() in (others.keys(), {name.removeprefix("model.") for name in others})
        if inside and same_names and not averaged:
            yield WeightSet(location, others)
            yield WeightSet(f"{location}.{prefix}*" if location else f"{prefix}*", inside, averaged=True)
            return
    yield WeightSet(location, tensors, averaged)
