"""Batches of data: checked, hashed, kept in memory where they fit, and cut into micro-batches."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from landscape.errors import LandscapeError, TaskError

DATASET_BATCH = 256  # samples at once when a data factory gives a map-style Dataset instead of batches
EXPECTED_BATCHES = "give an iterable of (inputs, targets) batches, e.g. a DataLoader with shuffle=False, or a list"
PAIRS = ("inputs targets", "input target", "data target", "x y", "X y", "X Y")
PAIR_NAMES = tuple((first, second) for first, second in map(str.split, PAIRS))  # of a batch in a dictionary of two
LABEL_NAMES = ("labels", "label", "targets", "target")  # what is no argument of the model in a dictionary of more


@dataclass(frozen=True)
class Batch:
    """Inputs (a tensor, or a tuple or dict of tensors) and targets, samples along axis 0.

    A dictionary of inputs is a model's arguments by name. What comes without targets is its own: a model of sequences
    or an autoencoder is measured so.

    `first` is the place of its first sample in the whole data set.
    """

    inputs: Any
    targets: Any
    first: int = 0

    @property
    def size(self) -> int:
        return len(next(leaves(self.inputs)))

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs as what a model is called with: by place and by name."""
        if isinstance(self.inputs, dict):
            return (), self.inputs
        return (self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)), {}

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(self, inputs=map_tensors(change, self.inputs), targets=map_tensors(change, self.targets))

    def split(self, size: int) -> Iterator[Batch]:
        """Pieces of at most `size` samples, views of this batch."""
        yield from self.cut(range(self.first + size, self.first + self.size, size))

    def cut(self, places: Iterable[int]) -> Iterator[Batch]:
        """Pieces that end before the given ascending places in the whole data set, views of this batch."""
        inside = [place - self.first for place in places if self.first < place < self.first + self.size]
        if not inside:
            yield self
            return
        for begin, end in pairwise([0, *inside, self.size]):
            piece = self.map(lambda tensor, part=slice(begin, end): tensor[part])  # type: ignore[misc]
            yield replace(piece, first=self.first + begin)


@dataclass(frozen=True)
class Batches:
    """Every batch of a data set, the same on each pass.

    `sha256` covers the samples in order, whatever the batch size; `samples` counts them.
    """

    source: Iterable[Any]
    sha256: str
    samples: int
    largest: int
    kept: bool  # whether `source` is a list of Batch held in memory
    whole: Batch | None = None  # all of it in one batch, of which those in `source` are views

    def __iter__(self) -> Iterator[Batch]:
        if self.kept:
            yield from self.source
            return
        first = 0
        with own_random_stream(0):
            for item in self.source:
                yield replace(batch := as_batch(item), first=first)
                first += batch.size


def survey(source: Any, *, device: torch.device, dtype: torch.dtype, budget: int) -> Batches:
    """One pass over the data that hashes, counts, and keeps it on the device if it fits into `budget` bytes.

    Floating tensors are kept in `dtype`. Raises TaskError if there are no samples, if the data cannot be iterated
    twice, or if a second pass begins with another batch (a loader that shuffles or augments).
    """
    source = _iterable(source)
    hasher, first_digest = _Hasher(), ""
    kept: list[Batch] | None = []
    size = largest = 0
    with own_random_stream(0):
        for item in _reraise_user_errors(source):
            batch = replace(as_batch(item), first=hasher.samples)
            hasher.update(batch)
            first_digest = first_digest or batch_digest(batch)
            largest = max(largest, batch.size)
            size += sum(tensor.nbytes for tensor in batch_tensors(batch))
            if kept is not None:
                # cloned: a loader may fill one buffer again and again
                kept = [*kept, to_device(batch.map(Tensor.clone), device, dtype)] if size <= budget else None
    if hasher.samples == 0:
        raise TaskError("the data set is empty: it gave no batch", fix="check the data factory")
    _require_same_first(source, first_digest)
    return Batches(source if kept is None else kept, hasher.hexdigest(), hasher.samples, largest, kept is not None)


def _reraise_user_errors(source: Iterable[Any]) -> Iterator[Any]:
    """The items; raises TaskError for whatever the user's own code raises."""
    count = 0
    try:
        for item in source:
            yield item
            count += 1
    except LandscapeError:
        raise
    except Exception as error:  # a data set may raise anything
        raise TaskError(
            f"the data fails at batch {count}: {type(error).__name__}: {error}",
            fix="samples of several sizes: a DataLoader with a collate_fn that pads; --debug shows the traceback",
        ) from error


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch on the device, its floating tensors in `dtype`."""
    return batch.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))


def as_batch(item: Any) -> Batch:
    """The Batch meant by what a data set yields; raises TaskError that says what was expected."""
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
    """Inputs and targets."""
    if isinstance(item, tuple | list) and len(item) == 1:  # what a TensorDataset of one tensor gives
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
    for inputs, targets in PAIR_NAMES:
        if item.keys() == {inputs, targets}:
            return item[inputs], item[targets]
    given = {name: value for name, value in item.items() if value is not None}
    label = next((name for name in LABEL_NAMES if name in given and len(given) > 1), None)
    if label is None:
        return given, given
    return {name: value for name, value in given.items() if name != label}, given[label]


def _tensors(tree: Any) -> Any:
    """The tree with arrays as tensors and every kind of mapping as a dictionary."""
    if isinstance(tree, np.ndarray | np.number):
        return torch.as_tensor(tree)
    if isinstance(tree, Mapping) and not isinstance(tree, dict):  # what tokenizers give
        tree = dict(tree)
    if isinstance(tree, dict) and not any(isinstance(value, np.ndarray | Mapping) for value in tree.values()):
        return tree
    if isinstance(tree, dict):
        return {name: _tensors(value) for name, value in tree.items()}
    if isinstance(tree, tuple | list) and any(isinstance(part, np.ndarray | Mapping) for part in tree):
        return tuple(_tensors(part) for part in tree)
    return tree


def leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tensor, tuple, list or dict, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        for key in sorted(tree, key=str):
            yield from leaves(tree[key])


def batch_tensors(batch: Batch) -> Iterator[Tensor]:
    yield from leaves((batch.inputs, batch.targets))


class FirstSamples:
    """The batches of a source up to its first `samples` samples; `cut` says, once it was read, if there are more."""

    def __init__(self, source: Any, samples: int) -> None:
        self.source = _iterable(source)
        self.samples = samples
        self.cut = False

    def __iter__(self) -> Iterator[Batch]:
        left = self.samples
        for item in self.source:
            batch = as_batch(item)
            more = batch.size > left
            if left > 0:
                yield next(batch.split(left))
                left -= batch.size
            if more:
                self.cut = True
                return


@contextmanager
def own_random_stream(seed: int) -> Iterator[None]:
    """Gives loaders, which draw from torch's global generator, a stream of their own and restores the user's."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


class _Hasher:
    """sha256 of the samples, leaf by leaf, so that it does not depend on where batches end."""

    def __init__(self) -> None:
        self.samples = 0
        self._leaves: list[tuple[str, Any]] = []
        self._shapes: list[torch.Size] = []

    def update(self, batch: Batch) -> None:
        self.samples += batch.size
        tensors = list(batch_tensors(batch))
        kinds = [str(tensor.dtype) for tensor in tensors]
        self._leaves = self._leaves or [(kind, hashlib.sha256(kind.encode())) for kind in kinds]
        if [kind for kind, _ in self._leaves] != kinds:
            raise TaskError(
                f"batches differ in kind: {[kind for kind, _ in self._leaves]}, then {kinds}",
                fix="every batch needs the same tensors with the same dtypes",
            )
        shapes = [tensor.shape[1:] for tensor in tensors]
        if shapes != self._shapes:  # said only when it changes, lest the batch size matter
            self._shapes = shapes
            self._leaves[0][1].update(str(shapes).encode())
        for tensor, (_, digest) in zip(tensors, self._leaves, strict=True):
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def hexdigest(self) -> str:
        return hashlib.sha256("".join(digest.hexdigest() for _, digest in self._leaves).encode()).hexdigest()


def batch_digest(batch: Batch) -> str:
    """The sha256 of a batch alone."""
    hasher = _Hasher()
    hasher.update(batch)
    return hasher.hexdigest()


def _iterable(source: Any) -> Iterable[Any]:
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


def _require_same_first(source: Iterable[Any], expected: str) -> None:
    with own_random_stream(1):
        again = next((as_batch(item) for item in source), None)
    if again is None or batch_digest(again) != expected:
        raise TaskError(
            "the data changes from pass to pass: its first batch was another one the second time",
            why="a curvature needs one fixed data set; the loader shuffles, samples or augments",
            fix="DataLoader(..., shuffle=False) without random augmentation",
        )


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The tree of tuples and dicts with every tensor changed; lists become tuples."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple | list):
        parts = [map_tensors(change, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, dict):
        same = copy.copy(tree)  # a kind of dictionary stays that kind
        for key, part in tree.items():
            same[key] = map_tensors(change, part)
        return same
    return tree


def tensors_in_map_order(batch: Batch) -> list[Tensor]:
    """The tensors in the order in which `Batch.map` visits them."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    batch.map(keep)
    return found
