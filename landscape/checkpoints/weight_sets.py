"""The sets of weights in a checkpoint: where training scripts keep them, and averaged weights beside raw ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from landscape.checkpoints.formats.pickle_values import (
    GlobalName,
    HandedOver,
    LongText,
    OpaqueValue,
    holds_tensors,
    is_tensor,
)
from landscape.checkpoints.formats.tensor_refs import ArrayRef, OddTensor, TensorRef
from landscape.checkpoints.names import strip_wrappers
from landscape.errors import CheckpointError, listing, safe_excerpt

CURRENT = "current_model_state"  # Lightning's WeightAveraging keeps the raw weights there, and averages in state_dict
RAW = (
    *("state_dict", "model_state_dict", "model", "model_state", "module", "net", "network", "weights", "params"),
    CURRENT,
)
AVERAGED = (
    *("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema", "params_ema"),
    *("ema_model_state_dict", "swa_state_dict", "swa_model", "averaged_model", "ema_state", "ema_weights"),
)
AVERAGED_PREFIXES = ("model_ema.", "ema_model.", "ema.", "averaged_model.", "swa_model.")  # inside one state dict
NOT_WEIGHTS = (
    *("optimizer", "optimizer_state_dict", "optimizer_states", "optim", "landscape_data", "callbacks", "loops"),
    "averaging_state",
)
ONLINE = "online_model."  # ema-pytorch's name of the weights that it averages
AROUND = ("", "model.", ONLINE)  # in front of the names of weights whose averages are in the same state dict
COUNTERS = ("n_averaged", "num_updates", "decay", "initted", "step", "steps")  # beside averages
MAX_OPTIMIZERS = 100  # of a list of them
MAX_DEPTH = 4  # of dictionaries in dictionaries
MAX_OBJECTS = 20  # Python objects that are searched for tensors
Tensors = dict[str, TensorRef | OddTensor]


@dataclass(frozen=True)
class WeightSet:
    """Named tensors, and their location in the file: the keys that lead to them, joined by dots; "" is the top.

    `unread` are the kinds of the Python objects that stand beside the tensors, by name, and `odd_keys` say which of
    these could change the weights or their names. `prefix` is what the names may have in front of them in the model: it
    was stripped, or is the name of the set.
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


def find_weight_sets(tree: Any) -> list[WeightSet]:
    """Every set of named tensors in a file, those at usual locations first; of NumPy arrays, if it has no tensors."""
    return list(_weight_sets_below(tree, "", is_tensor, set())) or find_array_sets(tree)


def find_array_sets(tree: Any) -> list[WeightSet]:
    """Every set of named NumPy arrays in a file."""
    return list(_weight_sets_below(tree, "", lambda value: isinstance(value, ArrayRef), set()))


def find_set_at(tree: Any, wanted: str) -> WeightSet | None:
    """The tensors in the dictionary at a location, also at one where weights are not looked for; None without any."""
    for location, entries in _dictionaries(tree, all_names=True):
        if location == wanted:
            own = {name: value for name, value in entries.items() if isinstance(name, str) and is_tensor(value)}
            return WeightSet(location, own) if own else None
    return None


def is_optimizer(value: Any) -> bool:
    """Whether a value has the form of an optimizer's state dict, whatever its name is."""
    return isinstance(value, Mapping) and "state" in value and isinstance(value.get("param_groups"), list)


def find_optimizers(tree: Any) -> dict[str, Mapping[str, Any]]:
    """The state dicts of optimizers in a file, by location."""
    found: dict[str, Mapping[str, Any]] = {}
    for location, entries in _dictionaries(tree, all_names=True):
        if is_optimizer(entries):
            found[location] = entries
        for key, value in entries.items():  # Lightning keeps a list of them
            if isinstance(value, list) and isinstance(key, str) and key != "param_groups":
                places = ((f"{key}.{number}", part) for number, part in enumerate(value[:MAX_OPTIMIZERS]))
                found |= {f"{location}.{at}" if location else at: part for at, part in places if is_optimizer(part)}
    return found


def optimizer_state(tree: Any) -> Mapping[str, Any] | None:
    """The optimizer's state dict in a file, if there is one.

    Raises CheckpointError for several, since none of them is known to be that of the measured weights.
    """
    found = find_optimizers(tree)
    if len(found) > 1:
        raise CheckpointError(
            f"the file holds the states of {len(found)} optimizers: {listing(map(safe_excerpt, found))}",
            fix="--preconditioner FILE names a file of positive tensors under the parameters' names",
        )
    return next(iter(found.values()), None)


def optimizer_groups(tree: Any) -> tuple[Mapping[str, Any], ...]:
    """The numbers of each group of the one optimizer in a file (lr, betas, ...); empty without one, or with several."""
    found = list(find_optimizers(tree).values())
    groups = found[0]["param_groups"] if len(found) == 1 else []
    return tuple(
        {name: _plain(value) for name, value in group.items() if isinstance(name, str) and _is_plain(_plain(value))}
        for group in groups
        if isinstance(group, Mapping)
    )


def _plain(value: Any) -> Any:
    """A value of a group in plain Python: a learning rate may be a tensor of one element."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _is_plain(value: Any) -> bool:
    """Whether a value of a group is a number, or a pair of numbers."""
    parts = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    return all(isinstance(part, bool | int | float) for part in parts)


def find_objects(tree: Any) -> dict[str, str]:
    """The kinds of the Python objects with tensors in them at the usual locations of weights, by location."""
    usual = (
        (f"{location}.{key}" if location else key, entries[key])
        for location, entries in _dictionaries(tree)
        for key in (*RAW, *AVERAGED)
        if isinstance(entries.get(key), OpaqueValue)
    )
    return {location: value.kind for location, value in islice(usual, MAX_OBJECTS) if holds_tensors(value)}


def _dictionaries(tree: Any, *, all_names: bool = False) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The dictionaries in which weights are looked for, or with all names those beside them, each once, by location."""
    seen, waiting = set[int](), [("", tree, 0)]
    while waiting:
        location, entries, depth = waiting.pop()
        if isinstance(entries, Mapping) and depth <= MAX_DEPTH and id(entries) not in seen:
            seen.add(id(entries))
            yield location, entries
            if is_optimizer(entries):
                continue
            named = {k: v for k, v in entries.items() if isinstance(k, str) and (all_names or k not in NOT_WEIGHTS)}
            waiting += [(f"{location}.{key}" if location else key, value, depth + 1) for key, value in named.items()]


def is_foreign_object(value: Any) -> bool:
    """Whether a value of a file is a Python object or a name, which is not made, or a NumPy array beside tensors."""
    return isinstance(value, OpaqueValue | GlobalName | ArrayRef)


def kind_of(value: Any) -> str:
    """The type of a value in words; the file's own word for an object."""
    plain = {ArrayRef: "NumPy array", TensorRef: "Tensor", LongText: "text"}.get(type(value), type(value).__name__)
    return safe_excerpt(getattr(value, "kind", plain))


def kind_with_article(value: Any) -> str:
    """The type of a value with its article: `a dict`, `an int`."""
    kind = kind_of(value)
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


# -- finding -------------------------------------------------------------------------------------------------------


def _weight_sets_below(
    entries: Any,
    location: str,
    is_weight: Callable[[Any], bool],
    seen: set[int],
    depth: int = 0,
    above: bool = False,
) -> Iterator[WeightSet]:
    """The sets of weights in a dictionary and in those below it, which `seen` holds by their ids.

    `above` says whether the dictionary lies in one of averages.
    """
    if not isinstance(entries, Mapping) or depth > MAX_DEPTH or id(entries) in seen or is_optimizer(entries):
        return
    seen.add(id(entries))  # a file may hold one dictionary in a thousand places
    named = {name: value for name, value in entries.items() if isinstance(name, str)}
    rank = {name: order for order, name in enumerate((*RAW, *AVERAGED))}
    keys = sorted((k for k in named if k not in NOT_WEIGHTS and k.isprintable()), key=lambda k: rank.get(k, len(rank)))
    below = [
        weight_set
        for key in keys
        for weight_set in _weight_sets_below(
            named[key],
            f"{location}.{key}" if location else key,
            is_weight,
            seen,
            depth + 1,
            above or _is_average(key, named),
        )
    ]
    own = {name: value for name, value in named.items() if is_weight(value)}
    has_raw_below = any(weight_set.key in RAW and not weight_set.averaged for weight_set in below)
    stray = len(own) == 1 and bool(below)  # a number beside a state dict (an epoch as a tensor) is no weight
    if own and not has_raw_below and not stray:
        unread = {name: kind_of(value) for name, value in named.items() if name not in own and is_foreign_object(value)}
        odd_keys = tuple(odd for key, value in entries.items() if (odd := _odd_key(key, is_weight(value))))
        for weight_set in _separate_averages(own, location, averaged=above):
            yield replace(weight_set, unread=unread, odd_keys=odd_keys)
    yield from below


def _is_average(key: str, siblings: Mapping[str, Any]) -> bool:
    """Whether a key of a dictionary with these siblings is that of averaged weights."""
    return key in AVERAGED or key.lower().endswith("_ema") or (key == "state_dict" and CURRENT in siblings)


def _odd_key(key: Any, weight: bool) -> str:
    """What is odd about a key of a dictionary of weights; "" if nothing is."""
    if isinstance(key, HandedOver):
        return f"they are handed over to {key.kind}"
    return f"a name is a {key.kind}" if weight and isinstance(key, OpaqueValue) else ""


def _separate_averages(tensors: Tensors, location: str, *, averaged: bool) -> Iterator[WeightSet]:
    """Weights and their averages in one state dict, as two sets; torch's AveragedModel counts its averages there."""
    if "n_averaged" in tensors and len(tensors) > 1:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}
        averaged = True
    weights = {name: tensor for name, tensor in tensors.items() if name not in COUNTERS}
    for prefix in AVERAGED_PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
        inside = {name: tensor for name, tensor in inside.items() if name not in COUNTERS}
        others = {n: t for n, t in weights.items() if not n.startswith(prefix)}
        # a model may have a part of that name: averages have the names of the weights that they average
        around = next((one for one in AROUND if inside and _core(inside, "") == _core(others, one)), None)
        if around is None:
            continue
        if averaged:  # an average that keeps the weights that it averages
            yield WeightSet(location, inside, averaged=True)
            return
        online = around if around == ONLINE else ""
        yield WeightSet(location, {name.removeprefix(online): tensor for name, tensor in others.items()}, prefix=online)
        yield WeightSet(f"{location}.{prefix}*" if location else f"{prefix}*", inside, averaged=True, prefix=prefix)
        return
    yield WeightSet(location, tensors, averaged)


def _core(names: Iterable[str], around: str) -> Set[str]:
    """Names without the parts that wrappers add, and without what stands around all of them."""
    return {strip_wrappers(name).removeprefix(around) for name in names}
