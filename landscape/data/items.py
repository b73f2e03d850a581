"""The items of data sets as batches: pairs, dictionaries with labels, single tensors, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from landscape.data.batches import Batch, batch_tensors, leaves
from landscape.errors import TaskError

DATASET_BATCH = 256  # batch size for a map-style Dataset, which yields single samples
EXPECTED_BATCHES = "give an iterable of (inputs, targets) batches, e.g. a DataLoader with shuffle=False, or a list"
PAIRS = ("inputs targets", "input target", "data target", "x y", "X y", "X Y")
PAIR_NAMES = tuple(
    (first, second) for first, second in map(str.split, PAIRS)
)  # the keys of a dictionary of two that is a pair
LABEL_NAMES = ("labels", "label", "targets", "target")  # the key of the targets among a model's arguments


def as_batch(item: Any) -> Batch:
    """The batch that an item of a data set stands for.

    Raises TaskError, with what is expected, for an item that is no batch or whose tensors differ in length.
    """
    if isinstance(item, Batch):
        return item
    batch = Batch(*_inputs_and_targets(_tensors(item)))
    if not any(True for _ in leaves(batch.inputs)):
        raise TaskError("a batch's inputs hold no tensors", fix=EXPECTED_BATCHES)
    sizes = {len(tensor) if tensor.ndim else 0 for tensor in batch_tensors(batch)}
    if len(sizes) != 1 or 0 in sizes:
        raise TaskError(
            f"a batch has tensors of {sorted(sizes)} samples" if sizes else "a batch holds no tensors",
            fix="inputs and targets need the same first dimension, at least 1",
        )
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
        return item[0], item[1]
    length = f" of {len(item)}" if isinstance(item, tuple | list) else ""
    raise TaskError(
        f"a batch is a {type(item).__name__}{length}, not a pair (inputs, targets)",
        fix=f"{EXPECTED_BATCHES}; several inputs: ((a, b), targets)",
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


def _tensors(tree: Any) -> Any:
    """The tree with arrays as tensors and every kind of mapping as a dictionary."""
    if isinstance(tree, np.ndarray | np.number):
        return torch.as_tensor(tree)
    if isinstance(tree, Mapping) and not isinstance(tree, dict):  # from tokenizers
        tree = dict(tree)
    if isinstance(tree, dict) and not any(isinstance(value, np.ndarray | Mapping) for value in tree.values()):
        return tree
    if isinstance(tree, dict):
        return {name: _tensors(value) for name, value in tree.items()}
    if isinstance(tree, tuple | list) and any(isinstance(part, np.ndarray | Mapping) for part in tree):
        return tuple(_tensors(part) for part in tree)
    return tree


def as_iterable(source: Any) -> Iterable[Any]:
    """The data of the user as an iterable of items; one batch alone becomes a list of it, a Dataset a loader.

    Raises TaskError for data that cannot be iterated twice, and for a list of tensors, which has two meanings.
    """
    arrays = Tensor | np.ndarray
    if isinstance(source, arrays | Mapping):
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
        raise TaskError("the data can be read only once: it is an iterator or a generator", fix=EXPECTED_BATCHES)
    return source
