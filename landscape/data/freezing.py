"""Data that change from pass to pass, run with a seed and kept as they came: in memory, or in a file without a name."""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from landscape.compute.budget import room
from landscape.compute.random_state import begin_at_seed
from landscape.data.batches import batch_bytes
from landscape.data.items import as_batch, as_iterable
from landscape.data.survey import reraise_data_errors
from landscape.data.trees import map_leaves
from landscape.errors import OutputError, TaskError
from landscape.seeds import derive

DISK_RESERVE = 256 << 20  # bytes that stay free on the disk: a full disk harms others, and results could not be written
SMALLER = "--limit N keeps the first N samples; -o FILE on another disk; fewer passes"


class FrozenData:
    """The items that some passes over a data set gave, the same on each further pass, and where they are kept."""

    def __init__(self, items: list[Any] | DiskItems, passes: int, seed: int, size: int) -> None:
        self.items = items
        self.passes, self.seed, self.size = passes, seed, size

    def __iter__(self) -> Iterator[Any]:
        yield from self.items

    def __len__(self) -> int:
        return len(self.items)

    @property
    def note(self) -> str:
        """How many passes gave how much, and where it is."""
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        where = "in memory" if isinstance(self.items, list) else f"in a file in {self.items.folder} until the end"
        batches = f"{len(self):,} batch{'es' if len(self) > 1 else ''}"
        return f"data frozen: {passes} with seed {self.seed} gave {batches}, {self.size / 1e6:,.1f} MB, kept {where}"


def freeze(
    source: Any,
    passes: int = 1,
    *,
    seed: int = 0,
    folder: Path | None = None,
    limit: int | None = None,
    as_items: bool = False,
) -> FrozenData:
    """What `passes` passes over the data give, with all random generators at seeds of their own.

    `source` is data as in `landscape.Objective`, also an iterator, or a function that makes them; a function that makes
    an iterator is called for each pass. What does not fit into memory is kept in a file in `folder`, which has no name
    and is gone when the program ends, however it ends. With `limit` the passes end after so many samples, whose items
    are understood as an objective's function (`as_items`) or as a model and a loss take them. Raises TaskError for a
    pass without a batch, and OutputError if the disk is full.

    >>> import torch
    >>> from landscape.data.freezing import freeze
    >>> loader = torch.utils.data.DataLoader(torch.arange(4.0), batch_size=2, shuffle=True)
    >>> frozen = freeze(loader, passes=2)
    >>> [len(batch) for batch in frozen], list(map(torch.equal, frozen, frozen))
    ([2, 2, 2, 2], [True, True, True, True])
    """
    keeper = _Keeper(room("data", torch.device("cpu")) // 2, folder or Path(tempfile.gettempdir()))
    counter = _Counter(limit, as_items=as_items)
    makes = callable(source) and not isinstance(source, Iterable)
    data: Any = None
    for number in range(passes):
        own_seed, before = derive(seed, "freeze", number), keeper.count
        with begin_at_seed(own_seed):
            if number == 0 or (makes and isinstance(data, Iterator)):
                data = source() if makes else source
                data = data if isinstance(data, Iterator) else as_iterable(data)
            with _seed_loader(data, own_seed):
                for item in reraise_data_errors(data):
                    keeper.add(item)
                    if counter.is_enough(item):
                        break
        if keeper.count == before:
            raise _no_batch(number)
        if counter.done:
            break
    return FrozenData(keeper.items, passes, seed, keeper.size)


def _no_batch(number: int) -> TaskError:
    if number == 0:
        return TaskError("the data set is empty: it gave no batch", fix="check the data factory")
    return TaskError(
        f"pass {number + 1} over the data gave no batch: they can be read only once",
        fix="--freeze-data 1, or data that can be iterated again",
    )


class _Counter:
    """Counts the samples that a limit asks for."""

    def __init__(self, limit: int | None, *, as_items: bool) -> None:
        self.limit, self.as_items = limit, as_items
        self.rows = self.batches = 0
        self.are_units = self.done = False

    def is_enough(self, item: Any) -> bool:
        """Whether the items so far hold as many samples as the limit; of units, as many batches."""
        if self.limit is None:
            return False
        batch = as_batch(item, as_item=self.as_items)
        self.are_units = self.are_units or bool(batch.unit)
        self.rows, self.batches = self.rows + batch.size, self.batches + 1
        self.done = (self.batches if self.are_units else self.rows) >= self.limit
        return self.done


class _Keeper:
    """Keeps copies of items in memory while they fit into `budget` bytes, afterwards all of them on the disk."""

    def __init__(self, budget: int, folder: Path) -> None:
        self.items: list[Any] | DiskItems = []
        self.count = self.size = 0
        self._budget, self._folder = budget, folder

    def add(self, item: Any) -> None:
        """Keeps a copy of an item: a loader may fill one buffer again and again."""
        self.count += 1
        self.size += batch_bytes(as_batch(item, as_item=True))
        if isinstance(self.items, list) and self.size > self._budget:
            on_disk = DiskItems(self._folder)
            for kept in self.items:
                on_disk.append(kept)
            self.items = on_disk
        self.items.append(map_leaves(_copy_leaf, item) if isinstance(self.items, list) else item)


def _copy_leaf(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.detach().clone().requires_grad_(leaf.requires_grad)
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


class DiskItems:
    """Items in a file that only this program can see, and that is gone when it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends = [0]
        with _words_for_disk(folder):
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as its items are)
        weakref.finalize(self, self._file.close)

    def append(self, item: Any) -> None:
        """Writes an item; raises TaskError if it cannot be written at all, OutputError if the disk is full."""
        buffer = io.BytesIO()
        try:
            torch.save(item, buffer)
        except Exception as error:  # an object may refuse with anything
            raise TaskError(
                f"the frozen data do not fit into memory, and a batch cannot be kept in a file: {error}",
                fix="yield tensors in tuples, lists and dictionaries; --limit N",
            ) from error
        if shutil.disk_usage(self.folder).free < buffer.tell() + DISK_RESERVE:
            raise _disk_full(self.folder, self._ends[-1])
        with _words_for_disk(self.folder, self._ends[-1]):
            self._file.seek(self._ends[-1])
            self._file.write(buffer.getbuffer())
            self._file.flush()
        self._ends.append(self._file.tell())

    def __iter__(self) -> Iterator[Any]:
        for begin, end in zip(self._ends, self._ends[1:], strict=False):
            self._file.seek(begin)
            # what this program wrote itself, into a file without a name
            yield torch.load(io.BytesIO(self._file.read(end - begin)), weights_only=False)

    def __len__(self) -> int:
        return len(self._ends) - 1


@contextmanager
def _words_for_disk(folder: Path, written: int = 0) -> Iterator[None]:
    """Raises OutputError, with the folder, in place of an error of the file system."""
    try:
        yield
    except OSError as error:
        raise _disk_full(folder, written, error.strerror or "") from error


def _disk_full(folder: Path, written: int, reason: str = "") -> OutputError:
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    return OutputError(
        f"the frozen data do not fit on the disk: {written / 1e9:,.2f} GB are written, {free / 1e9:,.2f} GB are free "
        f"in {folder}",
        why=reason or f"{DISK_RESERVE >> 20} MB stay free",
        fix=SMALLER,
    )


@contextmanager
def _seed_loader(source: Any, seed: int) -> Iterator[None]:
    """Within the block the generators that a loader has of its own begin at `seed`."""
    with ExitStack() as stack:
        for generator in _generators(source):
            stack.callback(generator.set_state, generator.get_state())
            generator.manual_seed(seed)
        yield


def _generators(source: Any) -> list[torch.Generator]:
    """The random generators that a loader and its samplers hold."""
    if not isinstance(source, DataLoader):
        return []
    owners = [source, source.sampler, getattr(source.batch_sampler, "sampler", None)]
    found = [getattr(owner, "generator", None) for owner in owners]
    return [generator for generator in found if isinstance(generator, torch.Generator)]
