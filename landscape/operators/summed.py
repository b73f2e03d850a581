"""Matrices that are sums over samples, divided once by their count."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from landscape.compute import memory
from landscape.compute.budget import room
from landscape.compute.strategy import Strategy
from landscape.compute.timing import fastest
from landscape.data.batches import Batch
from landscape.data.concatenation import tree_form
from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.cuda_graphs import record_product, recording_is_safe
from landscape.operators.graphs import Graph, GraphCache
from landscape.operators.pullback import WRITTEN, NoBatchingError

# Activations of all columns up to which they are taken at once unless a loop is clearly faster: above, arithmetic
# outweighs launching. On CPUs, 8 columns at once: 1.6 to 2 times faster at 0.2 and 1 MB
BATCHED_BYTES = 2 << 20
WIDEST_BYTES = 256 << 20  # activations of columns at once on a CPU: more was never faster
PER_COLUMN = 1.25  # memory of one column, in forward passes of activations: measured .7 to 1.05
RECORDED_BYTES = 64 << 20  # activations of columns above which a GPU is busy enough without CUDA graphs
PLAIN = ("loop", "vmap")  # strategies on the same graph
SAME = 1e-4  # relative: products of a kept graph and of a new one differ by rounding at most, and that on GPUs only


class SummedOperator(LinearOperator):
    """A matrix `(P, P)` that is a sum over samples at `theta` (by default the objective's own), over its count."""

    name: ClassVar[str]
    replays: ClassVar[bool] = False  # whether its graphs can be linearized or compiled

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        self.objective = objective
        self.like = objective.theta if theta is None else theta
        self.size = objective.space.size
        self._graphs = GraphCache(objective)
        self._largest = objective.largest_micro_batch

    @abstractmethod
    def graph(self, batch: Batch) -> Graph:
        """The gradient graph of one batch's sum."""

    def replay(self, batch: Batch, way: Strategy) -> Graph:
        """The batch's product as a program, linearized or compiled, for matrices that `replays`."""
        raise NotImplementedError

    def release(self) -> None:
        """Lets kept graphs go, for others to have their memory."""
        self._graphs.release()

    def matmat(self, block: Tensor) -> Tensor:
        if (
            self._largest != self.objective.largest_micro_batch
        ):  # memory ran out: smaller pieces may be kept, or taken together
            self._largest = self.objective.largest_micro_batch
            self._graphs.release()
            self.objective.engine.ways.pop(self.work(block.shape[1]), None)
        product = self.objective.accumulate(lambda batch: self.batch_product(batch, block))
        self._graphs.passes += 1
        kept = "graphs kept" if self._graphs.keeping else "graphs rebuilt"
        self.objective.engine.graphs[self.work(block.shape[1])] = kept
        return product.div_(self.objective.count)

    def batch_product(self, batch: Batch, block: Tensor) -> Tensor:
        """The product of one batch's sum with a block, `(P, K) -> (P, K)`.

        Running out of memory takes half as many columns at once, then keeps no graphs, and goes on; with one column
        and no graph the error is raised. Graphs into which the model wrote are not kept either.
        """
        while True:
            way = Strategy()  # in which a trial can fail
            try:
                way = self._way(batch, block)
                reused = self._graphs.reused(batch)
                product = self._pulled(batch, block, way)
                if not (reused and self._stale(batch, block, product)):
                    return product
                follower = way
            except NoBatchingError:
                follower = Strategy()
            except Exception as error:  # a program may fail in any way
                follower = self._follower(way, error)
            self._graphs.drop(batch)
            if self.work(block.shape[1]) in self.objective.engine.ways:  # else it is tried anew
                self.objective.engine.ways[self.work(block.shape[1])] = follower

    def _stale(self, batch: Batch, block: Tensor, product: Tensor) -> bool:
        """Whether a kept graph gives another product than a new one; then none is kept from now on."""
        anew = self.graph(batch)(block[:, :1], together=1, keep=False)
        same = torch.linalg.vector_norm(product[:, :1] - anew) <= SAME * torch.linalg.vector_norm(anew)
        return not bool(same) and self._graphs.ban()

    def _follower(self, way: Strategy, error: Exception) -> Strategy:
        """The way to go on in after an error; raises it if there is none."""
        if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
            if way.columns == 1 and not self._graphs.forget():
                raise error
            return Strategy(way.kind, way.columns // 2) if way.columns > 3 and way.kind == "vmap" else Strategy()
        if isinstance(error, RuntimeError) and WRITTEN in str(error) and self._graphs.ban():
            return way
        if way.kind not in ("compiled", "recorded"):
            raise error
        self._note(way, error)
        return Strategy()

    def _note(self, way: Strategy, error: Exception) -> None:
        note = f"products are not {way.kind}: {str(error).splitlines()[0]}"
        if note not in self.objective.notes:
            self.objective.notes.append(note)

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """v'S v for each column v and each group's own sum S, and what each group counts: `(G, K)` and `(G,)`, float64.

        The groups end before the ascending `cuts`, places in the data set; the last one is what follows.
        """
        columns = block.shape[1]

        def kernel(batch: Batch) -> Tensor:
            rows = torch.zeros((len(cuts) + 1, columns + 1), dtype=torch.float64, device=block.device)
            for piece in batch.cut(cuts):
                row = rows[bisect_right(cuts, piece.first)]
                image = self.graph(piece)(block, together=1, keep=False)
                row[:columns] += (block * image).sum(dim=0, dtype=torch.float64)
                row[columns] += self.objective.loss.count(piece.targets)
            return rows

        rows = self.objective.accumulate(kernel)
        return rows[:, :columns], rows[:, columns]

    def planned_bytes(self, columns: int, way: Strategy) -> int:
        """What a product with so many columns takes at its peak: graphs, columns under way, arguments and results."""
        graphs = self._graphs.bytes(self.graph)
        if not self._graphs.affords(graphs):  # one at a time
            graphs = graphs * self.objective.largest_micro_batch // self.objective.batches.samples
        under_way = PER_COLUMN * way.columns * self.objective.activation_bytes * self.objective.largest_micro_batch
        vectors = 2 * columns + 3  # arguments and results by row, and what is added up
        return graphs + round(under_way) + vectors * self.objective.theta.nbytes

    # -- how -----------------------------------------------------------------------------------------------------

    def _pulled(self, batch: Batch, block: Tensor, way: Strategy) -> Tensor:
        graph = self._graph(batch, way)
        return graph(block, together=way.columns, keep=self._graphs.keeping)

    def _graph(self, batch: Batch, way: Strategy) -> Graph:
        if way.kind in PLAIN:
            return self._graphs.of(batch, self.graph)
        return self._graphs.of(batch, self.graph, lambda piece: self._program(piece, way), str(way))

    def _program(self, batch: Batch, way: Strategy) -> Graph:
        if way.kind == "recorded":
            return record_product(batch, self.graph, self.objective.device)
        return self.replay(batch, way)

    def work(self, columns: int) -> str:
        """What products with so many columns are called in the engine."""
        return f"{self.name}, {columns} column{'s' if columns > 1 else ''}"

    def _way(self, batch: Batch, block: Tensor) -> Strategy:
        """How this many columns are taken: as asked, as before, or as a trial finds."""
        engine, work = self.objective.engine, self.work(block.shape[1])
        if work not in engine.ways:
            engine.ways[work] = self._tried(batch, block)
        return engine.ways[work]

    def _tried(self, batch: Batch, block: Tensor) -> Strategy:
        """The fastest way on one batch whose graph is there, as it is in a long run."""
        ways = self._candidates(batch, block.shape[1])
        if len(ways) == 1:
            return ways[0]
        plain, works = self._graphs.of(batch, self.graph), {}
        for way in ways:
            try:
                graph = plain if way.kind in PLAIN else self._graph(batch, way)
                work = partial(graph, block, together=way.columns, keep=True)
                work()
            except NoBatchingError:
                continue
            except Exception as error:  # a compiler may fail in any way
                if way.kind not in PLAIN:
                    self._note(way, error)
                elif way.columns == 1 or not (isinstance(error, RuntimeError) and memory.is_out_of_memory(error)):
                    raise
                continue
            works[way] = work
        return fastest(works) if works else Strategy()

    def _candidates(self, batch: Batch, columns: int) -> list[Strategy]:
        """What may be fastest, beginning with what is taken unless another is clearly faster."""
        engine = self.objective.engine
        size = max(self.objective.activation_bytes * batch.size, 1)
        fitting = int(room("columns", self.objective.device) / PER_COLUMN)
        if self.objective.device.type == "cpu" and engine.hvp == "auto":
            fitting = min(fitting, WIDEST_BYTES)
        wide = max(1, min(columns, fitting // size))
        if engine.hvp == "linearize" and self.replays:
            return [Strategy("linearize", wide)]
        batched = [Strategy("vmap", wide)] if wide > 1 else []
        ways = [Strategy(), *batched] if columns * size > BATCHED_BYTES else [*batched, Strategy()]
        if engine.hvp in ("loop", "vmap"):
            ways = batched if batched and engine.hvp == "vmap" else [Strategy()]
        if self._recordable(columns * size):
            records = [Strategy("recorded", way.columns) for way in ways]
            ways = records if engine.cuda_graphs == "on" else ways + records
        tensors = tree_form((batch.inputs, batch.targets)) is not None  # what else a batch holds would be compiled in
        return [*ways, Strategy("compiled", columns)] if engine.compile and self.replays and tensors else ways

    def _recordable(self, size: int) -> bool:
        """Whether products may be recorded: on CUDA, with graphs that are kept; unasked where launching may count."""
        engine = self.objective.engine
        if self.objective.device.type != "cuda" or engine.cuda_graphs == "off":
            return False
        wanted = engine.cuda_graphs == "on" or (size <= RECORDED_BYTES and recording_is_safe())
        return wanted and self._graphs.fit(self.graph)
