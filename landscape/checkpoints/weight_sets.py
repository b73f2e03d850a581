"""The sets of weights in a checkpoint: where training scripts keep them, and averaged weights beside raw ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from landscape.checkpoints.formats.pickle_values import GlobalName, OpaqueValue, holds_tensors
from landscape.checkpoints.formats.tensor_refs import OddTensor, TensorRef
from landscape.errors import safe_excerpt

RAW = ("state_dict", "model_state_dict", "model", "model_state", "module", "net", "network", "weights", "params")
AVERAGED = (
    *("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema", "params_ema"),
    *("ema_model_state_dict", "swa_state_dict", "swa_model", "averaged_model"),
)
AVERAGED_PREFIXES = ("model_ema.", "ema_model.", "ema.", "averaged_model.", "swa_model.")  # inside one state dict
OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")
NOT_WEIGHTS = (*OPTIMIZERS, "landscape_data", "callbacks", "loops")
MAX_DEPTH = 4  # of dictionaries in dictionaries
MAX_OBJECTS = 20  # Python objects that are searched for tensors
Tensors = dict[str, TensorRef | OddTensor]


@dataclass(frozen=True)
class WeightSet:
    """Named tensors, and their location in the file: the keys that lead to them, joined by dots; "" is the top.

    `unread` are the kinds of the Python objects that stand beside the tensors, by name, and `odd_keys` the kinds of
    those that stand in the place of a tensor's name. `prefix` is what the names may have in front of them in the model:
    it was stripped, or is the name of the set.
    """

    location: str
    tensors: Tensors
    averaged: bool = False
    unread: Mapping[str, str] = field(default_factory=dict)
    odd_keys: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def key(self) -> str:
        """The last key of the location."""
        return self.location.rpartition(".")[2]


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


def find_objects(tree: Any) -> dict[str, str]:
    """The kinds of the Python objects with tensors in them at the usual locations of weights, by location."""
    usual = (
        (f"{location}.{key}" if location else key, entries[key])
        for location, entries in _dictionaries(tree)
        for key in (*RAW, *AVERAGED)
        if isinstance(entries.get(key), OpaqueValue)
    )
    return {location: value.kind for location, value in islice(usual, MAX_OBJECTS) if holds_tensors(value)}


def _dictionaries(tree: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The dictionaries in which weights are looked for, by location, each once."""
    seen, waiting = set[int](), [("", tree, 0)]
    while waiting:
        location, entries, depth = waiting.pop()
        if isinstance(entries, Mapping) and depth <= MAX_DEPTH and id(entries) not in seen:
            seen.add(id(entries))
            yield location, entries
            named = {key: value for key, value in entries.items() if isinstance(key, str) and key not in NOT_WEIGHTS}
            waiting += [(f"{location}.{key}" if location else key, value, depth + 1) for key, value in named.items()]


def is_object(value: Any) -> bool:
    """Whether a value of a file is a Python object or a name, which is not made."""
    return isinstance(value, OpaqueValue | GlobalName)


def kind_with_article(value: Any) -> str:
    """The type of a value with its article: `a dict`, `an int`."""
    kind = "Tensor" if isinstance(value, TensorRef) else safe_excerpt(getattr(value, "kind", type(value).__name__))
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


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
    unread = {name: value.kind for name, value in entries.items() if isinstance(name, str) and is_object(value)}
    odd_keys = tuple(
        key.kind for key, value in entries.items() if isinstance(key, OpaqueValue) and isinstance(value, TensorRef)
    )
    has_raw_below = any(weight_set.key in RAW and not weight_set.averaged for weight_set in below)
    stray = len(own) == 1 and bool(below)  # a number beside a state dict (an epoch as a tensor) is no weight
    if own and not has_raw_below and not stray:
        for weight_set in _separate_averages(own, location, averaged=averaged):
            yield replace(weight_set, unread=unread, odd_keys=odd_keys)
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
