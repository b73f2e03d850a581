"""Trees of tensors: tuples, lists, mappings, dataclasses and other objects, taken apart and put together again.

Hashing, cutting and copying of batches follow from the two functions `walk` and `map_leaves`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

from landscape.errors import TaskError

VALUES = (str, bytes, int, float, complex, type(None), np.generic, Enum, PurePath, date, timedelta, torch.dtype)
# Objects that are never looked into: they hold no data of a batch, or the data of all batches
CLOSED = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, nn.Module, Dataset, DataLoader)
ARRAYS = (Tensor, np.ndarray)
BUILT_IN = (*ARRAYS, *VALUES, tuple, list, Mapping)  # leaves, and containers that are no objects of a class of its own
PLACES = ("data", "sorted_indices", "unsorted_indices")  # the tensors of a PackedSequence that follow the device
COUNTED_LENGTHS = 3  # different numbers of rows that a message names


def walk(tree: Any) -> Iterator[Any]:
    """Every container and every leaf of a tree, mappings and objects in the order of their keys' names."""
    yield from _walk(tree, set(), lambda _: True)


def leaf_nodes(tree: Any) -> Iterator[Any]:
    """Every leaf of a tree in the order of `walk`; an object without tensors and arrays is one."""
    for node in _walk(tree, set(), holds_arrays):
        if children(node) is None or (is_object(node) and not holds_arrays(node)):
            yield node


def holds_arrays(tree: Any) -> bool:
    """Whether there are tensors or arrays in a tree."""
    return any(isinstance(node, ARRAYS) for node in walk(tree))


def _walk(tree: Any, seen: set[int], enters: Callable[[Any], bool]) -> Iterator[Any]:
    yield tree
    parts = children(tree)
    if parts is None:
        return
    if is_object(tree):
        if id(tree) in seen or not enters(tree):
            return
        seen.add(id(tree))
    for key in parts if isinstance(tree, tuple | list) else sorted(parts, key=str):
        yield from _walk(parts[key], seen, enters)


def leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree, in the order of `walk`."""
    kind = type(tree)
    if isinstance(tree, Tensor):
        yield tree
    elif kind is tuple or kind is list or kind is dict:  # without the bookkeeping of objects, which small nets notice
        for part in tree if kind is not dict else (tree[key] for key in sorted(tree, key=str)):
            if isinstance(part, Tensor):
                yield part
            elif not isinstance(part, str | int | float):
                yield from leaves(part)
    else:
        for node in walk(tree):
            if isinstance(node, Tensor):
                yield node


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """The tensor itself; of a sparse or nested one its parts, which lie in memory number by number."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout == torch.strided:
        return [tensor]
    coordinates = tensor.detach().to_sparse(layout=torch.sparse_coo).coalesce()
    return [coordinates.indices(), coordinates.values()]


def common_length(tree: Any) -> int | None:
    """The length of a tree's tensors along their first axes, 1 for a single value; None if they have several lengths.

    A list of dictionaries has the length of the list.
    """
    if isinstance(tree, list) and all(isinstance(part, Mapping) for part in tree):
        return len(tree)
    lengths = {len(tensor) if tensor.ndim else 1 for tensor in leaves(tree)}
    return lengths.pop() if len(lengths) == 1 else None


def dense_leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree, of sparse and nested ones their parts."""
    for tensor in leaves(tree):
        yield from dense_parts(tensor)


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The tree with every tensor replaced by `change(tensor)`; every container stays of its kind."""
    return map_leaves(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def map_leaves(change: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with every leaf replaced by `change(leaf)`.

    Objects without tensors and arrays are passed along as they are. The lengths of a PackedSequence stay where they
    are, on the CPU. Raises TaskError for an object with tensors that cannot be copied.
    """
    return _map(change, tree, {})


def _map(change: Callable[[Any], Any], tree: Any, done: dict[int, Any]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) is dict:
        return {key: _map(change, part, done) for key, part in tree.items()}
    if type(tree) is tuple and tree and isinstance(tree[0], Tensor):
        return tuple([_map(change, part, done) for part in tree])
    if (parts := children(tree)) is None:
        return change(tree)
    if is_object(tree):
        return _map_object(change, tree, done)
    changed = {key: _map(change, part, done) for key, part in parts.items()}
    if isinstance(tree, PackedSequence):
        return PackedSequence(changed["data"], tree.batch_sizes, *(changed[name] for name in PLACES[1:]))
    if isinstance(tree, Mapping):
        return _as_mapping(tree, changed)
    return _as_sequence(tree, list(changed.values()))


def _as_mapping(like: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    """A mapping of the kind of `like`; a dictionary if that kind cannot be written into."""
    try:
        changed: Any = copy.copy(like)
        for key, part in parts.items():
            changed[key] = part
    except TypeError:
        return parts
    return changed


def _as_sequence(like: Any, parts: list[Any]) -> Any:
    """A list or tuple of the kind of `like`."""
    if isinstance(like, list):
        changed = copy.copy(like)  # a subclass of list stays that class
        changed[:] = parts
        return changed
    if hasattr(like, "_make"):  # a namedtuple
        return like._make(parts)
    return tuple(parts) if type(like) is tuple else type(like)(parts)


def _map_object(change: Callable[[Any], Any], tree: Any, done: dict[int, Any]) -> Any:
    """The object's copy with its attributes changed; itself if there is nothing to change."""
    if id(tree) in done:
        return done[id(tree)]
    if not holds_arrays(tree):
        return tree
    changed = done[id(tree)] = _copy_object(tree)
    for name, part in attributes(changed).items():
        if name in getattr(changed, "__dict__", {}):
            changed.__dict__[name] = _map(change, part, done)
        else:
            object.__setattr__(changed, name, _map(change, part, done))  # past the setters of frozen dataclasses
    return changed


def _copy_object(tree: Any) -> Any:
    try:
        return copy.copy(tree)
    except Exception as error:  # a class may raise anything
        raise TaskError(
            f"a batch holds a {type(tree).__name__} that cannot be copied: {type(error).__name__}: {error}",
            why="a measurement needs batches of its own, on the device and in the precision that is measured in",
            fix="yield a dictionary of its tensors instead",
        ) from error


def children(tree: Any) -> dict[Any, Any] | None:
    """The parts of a container by key or name; None for a leaf."""
    if isinstance(tree, (*ARRAYS, *VALUES)):
        return None
    if isinstance(tree, PackedSequence):
        parts = {name: getattr(tree, name) for name in PLACES}
        return {**parts, "batch_sizes": tuple(tree.batch_sizes.tolist())}
    if isinstance(tree, tuple | list):
        return None if is_column(tree) else dict(enumerate(tree))
    if isinstance(tree, Mapping):
        return dict(tree.items())
    return attributes(tree) if is_object(tree) else None


def is_column(leaf: Any) -> bool:
    """Whether a leaf is a list of words or numbers, one for each row where it is as long as the tensors."""
    if isinstance(leaf, np.ndarray):
        return leaf.ndim > 0
    if not isinstance(leaf, tuple | list) or not leaf or isinstance(leaf[0], Tensor):
        return False
    return all(isinstance(part, VALUES) for part in leaf)


def is_column_of_words(leaf: Any) -> bool:
    """Whether a leaf is a list of words."""
    return isinstance(leaf, list) and is_column(leaf) and all(isinstance(part, str) for part in leaf)


def is_object(tree: Any) -> bool:
    """Whether something is an object with attributes, among which tensors may be, and no container of Python's own."""
    if isinstance(tree, (*BUILT_IN, *CLOSED)):
        return False
    return hasattr(tree, "__dict__") or bool(_slots(type(tree)))


def attributes(tree: Any) -> dict[str, Any]:
    """The attributes that an object itself holds, without what its class computes."""
    slots = {name: getattr(tree, name) for name in _slots(type(tree)) if hasattr(tree, name)}
    return {**slots, **getattr(tree, "__dict__", {})}


def _slots(kind: type) -> list[str]:
    """The names of the `__slots__` of a class and those it derives from."""
    names = []
    for base in kind.__mro__:
        own = vars(base).get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def explain_unit(tree: Any) -> str:
    """Why a tree cannot be cut into parts along the first axes of its tensors; "" if it can."""
    lengths, columns = set[int](), set[int]()
    for node in walk(tree):
        if reason := _explain_node(node):
            return reason
        if isinstance(node, Tensor):
            lengths.add(len(node))
        elif is_column(node):
            columns.add(len(node))
    if not lengths:
        return "it holds no tensors"
    if len(lengths) > 1:
        return f"its tensors have {_list_lengths(lengths)} rows"
    if columns - lengths:
        values = _list_lengths(columns - lengths)
        return f"a list of {values} values stands beside tensors of {_list_lengths(lengths)} rows"
    return ""


def _explain_node(node: Any) -> str:
    """Why one container or leaf cannot be cut, whatever stands beside it; "" if it may be."""
    if isinstance(node, Tensor):
        if node.layout != torch.strided or node.is_nested:
            return "one of its tensors is sparse or nested"
        return "" if node.ndim else "one of its tensors has no rows, but a single value"
    if isinstance(node, PackedSequence):
        return "it holds a PackedSequence"
    return "" if isinstance(node, BUILT_IN) or is_dataclass(node) else f"it holds a {type(node).__name__}"


def _list_lengths(lengths: set[int]) -> str:
    """The lengths in words: "3, 5 and 17", or "3 to 17" where there are more."""
    every = [f"{length:,}" for length in sorted(lengths)]
    if len(every) > COUNTED_LENGTHS:
        return f"{every[0]} to {every[-1]}"
    return " and ".join(filter(None, [", ".join(every[:-1]), every[-1]]))


def copy_containers(inputs: Any) -> Any:
    """The same tensors in new lists and dictionaries: a user's objective may take entries out of them."""
    return inputs if isinstance(inputs, Tensor) else map_tensors(lambda tensor: tensor, inputs)


def copy_targets(targets: Any) -> Any:
    """Copies of the targets: a user's loss may write into them, and the next pass needs them as they are."""
    return map_tensors(Tensor.clone, targets)
