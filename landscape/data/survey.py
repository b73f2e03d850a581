"""The batches of a data set: the same on each pass, hashed, counted, and kept on the device where they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch, batch_tensors, to_device
from landscape.data.items import as_batch, as_iterable
from landscape.errors import LandscapeError, TaskError


@dataclass(frozen=True)
class Batches:
    """Every batch of a data set, the same on each pass.

    `sha256` covers the samples in order, whatever the batch size; `samples` counts them, and `largest` is the size of
    the largest batch. Iteration yields the batches with the place of their first sample.
    """

    source: Iterable[Any]
    sha256: str
    samples: int
    largest: int
    kept: bool  # whether `source` is a list of Batch in memory
    whole: Batch | None = None  # all samples in one batch; the batches in `source` are views of it

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
    """Hashes and counts the data in one pass, and keeps it on the device if it fits into `budget` bytes.

    Floating tensors are kept in `dtype`. Raises TaskError if there are no samples, if the data cannot be iterated
    twice, or if a second pass begins with another batch (a loader that shuffles or augments).
    """
    source = as_iterable(source)
    hasher, first_digest = SampleHasher(), ""
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
    """The items of the source; any exception of the user's code becomes a TaskError with the batch's number."""
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


class FirstSamples:
    """The first `samples` samples of a source, in its own batches; after a pass `cut` says whether there are more."""

    def __init__(self, source: Any, samples: int) -> None:
        self.source = as_iterable(source)
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
    """Within the block torch's global generator, which loaders use, starts at `seed`; then its state is restored."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


class SampleHasher:
    """The sha256 of samples, tensor by tensor, which does not depend on where batches end."""

    def __init__(self) -> None:
        self.samples = 0
        self._leaves: list[tuple[str, Any]] = []
        self._shapes: list[torch.Size] = []

    def update(self, batch: Batch) -> None:
        """Adds the samples of a batch; raises TaskError if its tensors are not of the earlier batches' dtypes."""
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
        if shapes != self._shapes:  # hashed only where it changes: the hash must not depend on the batch size
            self._shapes = shapes
            self._leaves[0][1].update(str(shapes).encode())
        for tensor, (_, digest) in zip(tensors, self._leaves, strict=True):
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def hexdigest(self) -> str:
        """The hash of all samples so far."""
        return hashlib.sha256("".join(digest.hexdigest() for _, digest in self._leaves).encode()).hexdigest()


def batch_digest(batch: Batch) -> str:
    """The sha256 of a batch alone."""
    hasher = SampleHasher()
    hasher.update(batch)
    return hasher.hexdigest()


def _require_same_first(source: Iterable[Any], expected: str) -> None:
    """Raises TaskError if a second pass, under other random numbers, begins with another batch."""
    with own_random_stream(1):
        again = next((as_batch(item) for item in source), None)
    if again is None or batch_digest(again) != expected:
        raise TaskError(
            "the data changes from pass to pass: its first batch was another one the second time",
            why="a curvature needs one fixed data set; the loader shuffles, samples or augments",
            fix="DataLoader(..., shuffle=False) without random augmentation",
        )
