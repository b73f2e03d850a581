"""The gradient graphs of a data set's pieces, kept from product to product where memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from landscape.compute import memory
from landscape.compute.budget import room
from landscape.data.batches import Batch, batch_tensors
from landscape.objective import Objective

TRIED = 8  # samples whose graph is weighed


class Graph(Protocol):
    """One batch's matrix, as a gradient graph that is built: its product with a block `(P, K)`.

    `together` columns are pulled through at once; without `keep` it serves one block only.
    """

    def __call__(self, block: Tensor, *, together: int, keep: bool) -> Tensor: ...


Build = Callable[[Batch], Graph]


class GraphCache:
    """Graphs by piece of the data and by how they were built.

    Those of several pieces are kept from the second pass on: many matrices are used for one product only.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.passes = 0
        self._banned = False  # because the model writes into what they hold
        self._tried: set[tuple[int, int]] = set()  # pieces whose kept graph was compared with a new one
        self._kept: dict[tuple[int, int, str], Graph] = {}
        self._room: bool | None = None

    @property
    def keeping(self) -> bool:
        """Whether the graphs of this pass serve the next one too."""
        return self._room is not False and not self._banned and (self.passes > 0 or self.objective.single_batch)

    def of(self, batch: Batch, plain: Build, program: Build | None = None, kind: str = "") -> Graph:
        """The batch's graph, kept or built now: the plain one, or a program of that kind, which is kept at once."""
        place = batch.first, batch.size, kind
        if (graph := self._kept.get(place)) is not None:
            return graph
        if self._room is None and (self.keeping or program):
            self._room = self.fit(plain)
        graph = (program or plain)(batch)
        if self.keeping or (program and self._room and not self._banned):
            self._kept[place] = graph
        return graph

    def fit(self, plain: Build) -> bool:
        """Whether there is room for the graphs of all pieces; one alone must fit in any case."""
        return self.objective.single_batch or self.affords(self.bytes(plain))

    def affords(self, size: int) -> bool:
        """Whether graphs of so many bytes have room, beside what is there."""
        return self.objective.single_batch or size <= room("kept graphs", self.objective.device)

    def bytes(self, build: Build) -> int:
        """What the graphs of all pieces hold, from the graphs of a few samples."""
        whole, half = (self._weighed(build, size) for size in (TRIED, TRIED // 2))
        samples, pieces = (
            self.objective.batches.samples,
            -(-self.objective.batches.samples // self.objective.largest_micro_batch),
        )
        each = max(whole[0] - half[0], 0) / max(whole[1] - half[1], 1)
        return round(samples * each + pieces * (max(whole[0] - whole[1] * each, 0) + self.objective.theta.nbytes))

    def _weighed(self, build: Build, samples: int) -> tuple[int, int]:
        """What the graph of a few samples holds beside parameters, buffers and kept data; and how many they are."""
        held: dict[int, int] = {}

        def weigh(tensor: Tensor) -> None:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()

        batch = next(iter(self.objective.first(samples).batches))
        memory.watch_saved_tensors(lambda: build(batch), weigh)
        elsewhere = {t.untyped_storage().data_ptr() for t in (*self.objective.tensors(), *batch_tensors(batch))}
        data = 0 if self.objective.batches.kept else sum(tensor.nbytes for tensor in batch_tensors(batch))
        return data + sum(size for place, size in held.items() if place not in elsewhere), batch.size

    def reused(self, batch: Batch) -> bool:
        """Whether a graph of this batch, one of several pieces, is of an earlier pass, and not yet known to be sound.

        Each is tried once, after all were built: a model may write into what it keeps.
        """
        place = batch.first, batch.size
        if place in self._tried or self.objective.single_batch or not any(key[:2] == place for key in self._kept):
            return False
        self._tried.add(place)
        return True

    def release(self) -> None:
        """Lets all graphs go; they may be built and kept again."""
        self._kept.clear()
        self._tried.clear()
        self.passes, self._room = 0, None

    def forget(self) -> bool:
        """Lets all graphs go, and keeps none from now on; whether there were any."""
        had = bool(self._kept)
        self._kept.clear()
        self._room = False
        return had

    def ban(self) -> bool:
        """Lets all graphs go, and keeps none for good: they do not stay what they were; whether there were any."""
        self._banned = True
        return self.forget()

    def drop(self, batch: Batch) -> None:
        """Lets go what is kept of one batch: it may have been freed in part."""
        for place in [place for place in self._kept if place[:2] == (batch.first, batch.size)]:
            del self._kept[place]
