"""The batches of a data set: the same on each pass, hashed, counted, and kept on the device where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch, batch_bytes, batch_tensors, to_device
from landscape.data.hashing import SampleHasher, batch_digest
from landscape.data.items import FREEZE, READ_ONCE, as_batch, as_iterable
from landscape.errors import LandscapeError, TaskError, listing

EXHAUSTED = "the data can be read only once: a second pass over it gave no batch"


@dataclass(frozen=True)
class Batches:
    """Every batch of a data set, the same on each pass.

    `sha256` covers the samples in order, whatever the batch size; `samples` counts them, and `largest` is the size of
    the largest batch. Iteration yields the batches with the place of their first sample. With `as_items` they hold the
    items as the data yield them; where one cannot be cut into samples, `unit` says why, and every batch is one unit.
    `words` are the names of lists of words among the inputs, which a model does not get.
    """

    source: Iterable[Any]
    sha256: str
    samples: int
    largest: int
    kept: bool  # whether `source` is a list of Batch in memory
    whole: Batch | None = None  # all samples in one batch; the batches in `source` are views of it
    as_items: bool = False
    unit: str = ""
    words: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Batch]:
        if self.kept:
            yield from self.source
            return
        with own_random_stream(0):
            yield from _place_batches(self.source, as_items=self.as_items, unit=self.unit)

    @property
    def note(self) -> str:
        """A note that samples are batches, with the reason, and on words beside the inputs; "" without either."""
        unit = f"each batch is one unit, which counts as one sample and is never cut: {self.unit}"
        words = f"lists of words are not given to the model: {listing(self.words)}"
        return "; ".join(note for note, applies in ((unit, self.unit), (words, self.words)) if applies)


def survey(
    source: Any, *, device: torch.device, dtype: torch.dtype, budget: int, as_items: bool = False, unit: str = ""
) -> Batches:
    """Hashes and counts the data in one pass, and keeps it on the device if it fits into `budget` bytes.

    Floating tensors are kept in `dtype`. With `as_items` a batch holds the item that the data yield, in its own form.
    `unit` says why batches are not to be cut; without it their tensors tell.
    Raises TaskError if there are no samples, if the data cannot be iterated twice, or if a second pass begins with
    another batch (a loader that shuffles or augments).
    """
    source = as_iterable(source)
    keeper = _Keeper(device, dtype, budget)
    batches, first_digest = _survey(source, keeper, as_items=as_items, unit=unit)
    if batches.unit and not unit:  # of one batch, and so of all
        keeper = _Keeper(device, dtype, budget)
        batches, first_digest = _survey(source, keeper, as_items=as_items, unit=batches.unit)
        if batches.samples == 0:
            raise TaskError(EXHAUSTED, fix=READ_ONCE)
    if batches.samples == 0:
        raise TaskError("the data set is empty: it gave no batch", fix="check the data factory")
    _require_same_first(source, first_digest, as_items=as_items, unit=batches.unit)
    return batches


def _survey(source: Iterable[Any], keeper: _Keeper, *, as_items: bool, unit: str) -> tuple[Batches, str]:
    """One pass over the data, and the hash of its first batch; no samples and the reason if they turn out as units."""
    if isinstance(source, FirstSamples):
        source.unit = unit
    hasher, first_digest, largest, words, tensors = SampleHasher(), "", 0, set[str](), 0
    with own_random_stream(0):
        for batch in _place_batches(reraise_data_errors(source), as_items=as_items, unit=unit):
            tensors = tensors or sum(1 for _ in batch_tensors(batch))
            if not unit and (reason := batch.unit or _explain_other_number(batch, tensors)):
                return Batches(source, "", 0, 0, kept=False, unit=reason), ""
            first_digest = first_digest or batch_digest(batch)
            hasher.update(batch)
            keeper.add(batch)
            largest = max(largest, batch.size)
            words |= set() if as_items else batch.words
    kept = keeper.kept
    found = Batches(source if kept is None else kept, hasher.hexdigest(), hasher.samples, largest, kept is not None)
    return replace(found, as_items=as_items, unit=unit, words=tuple(sorted(words))), first_digest


def _explain_other_number(batch: Batch, tensors: int) -> str:
    """Why a batch is one unit although its tensors agree: lists have one tensor for each sample; "" if it is none."""
    own = sum(1 for _ in batch_tensors(batch))
    return f"one holds {tensors} tensors, another {own}" if own != tensors else ""


def _place_batches(items: Iterable[Any], *, as_items: bool, unit: str) -> Iterator[Batch]:
    """The items as batches with the places of their first samples; as units if `unit` says why."""
    first = 0
    for item in items:
        batch = as_batch(item, as_item=as_items)
        batch = Batch(batch.inputs, batch.targets, first, batch.unit or unit)
        yield batch
        first += batch.size


class _Keeper:
    """Keeps copies of batches on the device while they fit into `budget` bytes; afterwards `kept` is None."""

    def __init__(self, device: torch.device, dtype: torch.dtype, budget: int) -> None:
        self.kept: list[Batch] | None = []
        self._device, self._dtype, self._room = device, dtype, budget

    def add(self, batch: Batch) -> None:
        """Keeps a copy of a batch, or gives up all copies if it does not fit."""
        self._room -= batch_bytes(batch)
        if self._room < 0:
            self.kept = None
        if self.kept is not None:  # cloned: a loader may fill one buffer again and again
            self.kept.append(to_device(batch.map(Tensor.clone), self._device, self._dtype))


def reraise_data_errors(source: Iterable[Any]) -> Iterator[Any]:
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
    """The first `samples` samples of a source, in its own batches; after a pass `cut` says whether there are more.

    Where batches are units, for the reason `unit`, these are the first so many batches.
    """

    def __init__(self, source: Any, samples: int, *, as_items: bool = False) -> None:
        self.source = as_iterable(source)
        self.samples = samples
        self.as_items = as_items
        self.unit = ""
        self.cut = False

    def __iter__(self) -> Iterator[Batch]:
        left = self.samples
        batches = _place_batches(self.source, as_items=self.as_items, unit=self.unit)
        for batch in batches:
            more = batch.size > left
            if more and left and (following := next(batches, batch)).unit:
                yield following  # a batch is not cut where the next one shows that batches are units
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


def _require_same_first(source: Iterable[Any], expected: str, *, as_items: bool, unit: str) -> None:
    """Raises TaskError if a second pass, under other random numbers, begins with another batch or with none."""
    with own_random_stream(1):
        again = next(_place_batches(source, as_items=as_items, unit=unit), None)
    if again is None:
        raise TaskError(EXHAUSTED, fix=READ_ONCE)
    if batch_digest(again) != expected:
        raise TaskError(
            "the data changes from pass to pass: its first batch was another one the second time",
            why="a curvature needs one fixed data set; the loader shuffles, samples or augments",
            fix=f"{FREEZE}; or DataLoader(..., shuffle=False) without random augmentation",
        )
