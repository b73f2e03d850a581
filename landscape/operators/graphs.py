"""The gradient graphs of a data set's micro-batches, kept from product to product where memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from landscape.compute import memory
from landscape.compute.budget import room
from landscape.data.batches import Batch, batch_bytes
from landscape.data.trees import dense_leaves, dense_parts
from landscape.objective import Objective

SIZED_SAMPLES = 8  # the bytes per sample of a graph are measured on so many samples, and on half as many


class Graph(Protocol):
    """One batch's matrix as a gradient graph or a program: its product with a block `(P, K)`.

    `chunk_size` columns share a call. Without `retain_graph` the graph serves one block only.
    """

    def __call__(self, block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor: ...


Build = Callable[[Batch], Graph]


class GraphCache:
    """Graphs by micro-batch and by the way they were built.

    The graph of a single micro-batch is kept at once; those of several are kept from the second pass on, because many
    matrices are used for one product only.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.passes = 0
        # because the model writes into the tensors that its graphs hold, or holds other tensors after the next pass
        self._never = objective.function.resident is not None
        self._checked: set[tuple[int, int]] = set()  # micro-batches whose kept graph was compared with a new one
        self._kept: dict[tuple[int, int, str], Graph] = {}
        self._has_room: bool | None = None

    @property
    def keeping(self) -> bool:
        """Whether the graphs of this pass serve the next one too."""
        return self._has_room is not False and not self._never and (self.passes > 0 or self.objective.single_batch)

    def graph_for(self, batch: Batch, build: Build, program: Build | None = None, kind: str = "") -> Graph:
        """The batch's graph, kept or built now; with `program` a program of that kind, which is kept at once."""
        key = batch.first, batch.size, kind
        if (graph := self._kept.get(key)) is not None:
            return graph
        if self._has_room is None and (self.keeping or program):
            self._has_room = self.all_fit(build)
        graph = (program or build)(batch)
        if self.keeping or (program and self._has_room and not self._never):
            self._kept[key] = graph
        return graph

    def all_fit(self, build: Build) -> bool:
        """Whether the graphs of all micro-batches have room; a single one must fit in any case."""
        return self.objective.single_batch or self.has_room(self.estimate_bytes(build))

    def has_room(self, size: int) -> bool:
        """Whether graphs of so many bytes have room in the memory that is free now."""
        return self.objective.single_batch or size <= room("kept graphs", self.objective.device)

    def estimate_bytes(self, build: Build) -> int:
        """The bytes that the graphs of all micro-batches hold, extrapolated from the graphs of a few samples.

        Batches that are measured as they are given are not cut: the first one tells.
        """
        if self.objective.as_given:
            size, samples = self._measure(build, next(iter(self.objective.batches)).size)
            return round(self.objective.batches.samples * size / samples)
        whole, half = (self._measure(build, size) for size in (SIZED_SAMPLES, SIZED_SAMPLES // 2))
        samples = self.objective.batches.samples
        pieces = -(-samples // self.objective.largest_micro_batch)
        each = max(whole[0] - half[0], 0) / max(whole[1] - half[1], 1)
        return round(samples * each + pieces * (max(whole[0] - whole[1] * each, 0) + self.objective.theta.nbytes))

    def _measure(self, build: Build, samples: int) -> tuple[int, int]:
        """The bytes in the graph of a few samples, without parameters, buffers and kept data; and their number."""
        sizes: dict[int, int] = {}

        def record(tensor: Tensor) -> None:
            for part in dense_parts(tensor):
                storage = part.untyped_storage()
                sizes[storage.data_ptr()] = storage.nbytes()

        batch = next(iter(self.objective.first(samples).batches))
        memory.watch_saved_tensors(lambda: build(batch), record)
        known = (*self.objective.tensors(), *dense_leaves((batch.inputs, batch.targets)))
        elsewhere = {tensor.untyped_storage().data_ptr() for tensor in known}
        data = 0 if self.objective.batches.kept else batch_bytes(batch)
        return data + sum(size for pointer, size in sizes.items() if pointer not in elsewhere), batch.size

    def needs_check(self, batch: Batch) -> bool:
        """Whether this batch has a kept graph of an earlier pass that was never compared with a new one.

        Says so once for each of several micro-batches: a model may write into the tensors that a kept graph holds.
        """
        key = batch.first, batch.size
        if key in self._checked or self.objective.single_batch or not any(kept[:2] == key for kept in self._kept):
            return False
        self._checked.add(key)
        return True

    def release(self) -> None:
        """Frees all graphs; they may be built and kept again."""
        self._kept.clear()
        self._checked.clear()
        self.passes, self._has_room = 0, None

    def stop_keeping(self) -> bool:
        """Frees all graphs and keeps none until `release`; returns whether there were any."""
        had = bool(self._kept)
        self._kept.clear()
        self._has_room = False
        return had

    def never_keep(self) -> bool:
        """Frees all graphs and keeps none from now on, since the model changes them; returns whether there were any."""
        self._never = True
        return self.stop_keeping()

    def discard(self, batch: Batch) -> None:
        """Frees the graphs of one batch, parts of which may have been freed by an error."""
        for key in [key for key in self._kept if key[:2] == (batch.first, batch.size)]:
            del self._kept[key]
