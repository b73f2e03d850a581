"""The items of data sets as batches: pairs, dictionaries with labels, single tensors, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset, IterableDataset

from landscape.data.batches import Batch
from landscape.data.trees import explain_unit, is_column, is_object, leaves, map_leaves
from landscape.errors import TaskError

DATASET_BATCH = 256  # batch size for a map-style Dataset, which yields single samples
NUMERIC_KINDS = "biufc"  # of NumPy's types: numbers, which torch has too
EXPECTED_BATCHES = "give an iterable of (inputs, targets) batches, e.g. a DataLoader with shuffle=False, or a list"
FREEZE = "--freeze-data 1 (in Python: landscape.data.freezing.freeze) keeps what one pass gives"
READ_ONCE = f"a list of batches, or a DataLoader with shuffle=False; {FREEZE}"
PAIRS = ("inputs targets", "input target", "data target", "x y", "X y", "X Y")
PAIR_NAMES = tuple(
    (first, second) for first, second in map(str.split, PAIRS)
)  # the keys of a dictionary of two that is a pair
LABEL_NAMES = ("labels", "label", "targets", "target")  # the key of the targets among a model's arguments


def as_batch(item: Any, *, as_item: bool = False) -> Batch:
    """The batch that an item of a data set stands for: inputs and targets, or with `as_item` the item as it is.

    An item that cannot be cut into samples is a batch that is one unit. Raises TaskError, with what is expected, for an
    item that is no batch or has no rows.
    """
    if isinstance(item, Batch):
        return item
    batch = Batch(map_leaves(_as_tensor, item), None) if as_item else Batch(*_inputs_and_targets(_as_tensors(item)))
    for name in () if as_item else ("inputs", "targets"):
        if not any(True for _ in leaves(getattr(batch, name))):
            raise TaskError(f"a batch's {name} hold no tensors", fix=EXPECTED_BATCHES)
    tree = batch.inputs if as_item else (batch.inputs, batch.targets)
    if unit := explain_unit(tree):
        return replace(batch, unit=unit)
    if batch.size == 0:
        raise TaskError("a batch has tensors of 0 samples", fix="leave empty batches out")
    return batch


def _inputs_and_targets(item: Any) -> tuple[Any, Any]:
    """The inputs and the targets of an item; raises TaskError if it is no pair."""
    if isinstance(item, tuple | list) and len(item) == 1:  # from a TensorDataset of one tensor
        item = item[0]
    if isinstance(item, Tensor):
        return item, item
    if isinstance(item, dict):
        return _from_dictionary(item)
    if isinstance(item, tuple | list) and len(item) == 2:
        inputs, targets = item  # several inputs, which come as a list from a DataLoader, are arguments by place
        return (tuple(inputs) if type(inputs) is list else inputs), targets
    length = f" of {len(item)}" if isinstance(item, tuple | list) else ""
    raise TaskError(
        f"a batch is a {type(item).__name__}{length}, not a pair (inputs, targets)",
        fix=f"{EXPECTED_BATCHES}; several inputs: ((a, b), targets); other batches: --objective FILE.py:function",
    )


def _from_dictionary(item: dict[str, Any]) -> tuple[Any, Any]:
    """Inputs and targets of a dictionary: a pair, a model's arguments with labels, or arguments without."""
    for inputs, targets in PAIR_NAMES:
        if item.keys() == {inputs, targets}:
            return item[inputs], item[targets]
    arguments = {name: value for name, value in item.items() if value is not None}
    label = next((name for name in LABEL_NAMES if name in arguments and len(arguments) > 1), None)
    if label is None:
        return arguments, arguments
    return {name: value for name, value in arguments.items() if name != label}, arguments[label]


def _as_tensor(leaf: Any) -> Any:
    """An array of numbers as a tensor with memory of its own kind; any other leaf as it is."""
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in NUMERIC_KINDS:
        return leaf
    plain = np.require(leaf.astype(leaf.dtype.newbyteorder("="), copy=False), requirements=("C", "W"))
    return torch.from_numpy(plain)


def _as_tensors(item: Any) -> Any:
    """The item with arrays as tensors and every kind of mapping as a dictionary."""
    return map_leaves(_as_tensor, _as_dictionaries(item))


def _as_dictionaries(tree: Any) -> Any:
    """The tree with every kind of mapping, such as those of tokenizers, as a dictionary."""
    if isinstance(tree, Mapping) and not isinstance(tree, dict):
        return {name: _as_dictionaries(part) for name, part in tree.items()}
    if type(tree) is dict:
        return {name: _as_dictionaries(part) for name, part in tree.items()}
    if type(tree) in (list, tuple) and not all(isinstance(part, Tensor) for part in tree) and not is_column(tree):
        return type(tree)(_as_dictionaries(part) for part in tree)
    return tree


def as_iterable(source: Any) -> Iterable[Any]:
    """The data of the user as an iterable of items; one batch alone becomes a list of it, a Dataset a loader.

    Raises TaskError for data that cannot be iterated twice, and for a list of tensors, which has two meanings.
    """
    arrays = Tensor | np.ndarray
    if isinstance(source, arrays | Mapping | PackedSequence) or _is_batch_object(source):
        return [source]
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[1], arrays):
        return [source]  # one pair; two batches would each be a tuple or a dictionary
    if type(source) in (list, tuple) and len(source) > 1 and all(isinstance(part, arrays) for part in source):
        raise TaskError(
            f"the data is a {type(source).__name__} of {len(source)} tensors",
            why="it could be one batch, or several without targets",
            fix="a pair is a tuple (inputs, targets); several batches without targets are [(x1,), (x2,)]",
        )
    if isinstance(source, Dataset) and not isinstance(source, IterableDataset):
        return DataLoader(source, batch_size=DATASET_BATCH)
    if not isinstance(source, Iterable):
        raise TaskError(f"the data is a {type(source).__name__}, which cannot be iterated", fix=EXPECTED_BATCHES)
    if isinstance(source, Iterator):
        raise TaskError("the data can be read only once: it is an iterator or a generator", fix=READ_ONCE)
    return source


def _is_batch_object(source: Any) -> bool:
    """Whether the data are one batch in an object of its own kind, such as a graph."""
    moves = hasattr(source, "to") and not isinstance(source, Dataset | DataLoader)
    alone = moves or (is_dataclass(source) and not isinstance(source, Iterable))
    return alone and is_object(source) and any(True for _ in leaves(source))
