"""Matrices that are sums over samples, divided once by the number of loss terms."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from landscape.compute.budget import room
from landscape.compute.inner_products import distance, norm, row_dots
from landscape.compute.strategy import ProductKey, Strategy
from landscape.data.batches import Batch
from landscape.data.concatenation import tree_form
from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.cuda_graphs import record_product
from landscape.operators.graphs import Graph, GraphCache
from landscape.operators.pullback import NoBatchingError
from landscape.operators.sample_range import SampleRangeOperator
from landscape.operators.strategy_trial import (
    COLUMN_ACTIVATIONS,
    GRAPH_KINDS,
    ProductFacts,
    candidates,
    fallback,
    fastest_strategy,
)

# Largest relative difference between the products of a kept graph and of a new one: rounding, and that on GPUs only.
KEPT_GRAPH_TOLERANCE = 1e-4


class SummedOperator(LinearOperator):
    """A matrix `(P, P)` that is a sum over samples at `theta` (by default the objective's own), over their count."""

    name: ClassVar[str]
    can_trace: ClassVar[bool] = False  # whether `trace` is implemented

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        self.objective = objective
        self.like = objective.theta if theta is None else theta
        self.size = objective.space.size
        self._graphs = GraphCache(objective)
        self._micro_batch = objective.largest_micro_batch

    @abstractmethod
    def graph(self, batch: Batch) -> Graph:
        """The gradient graph of one batch's sum."""

    def trace(self, batch: Batch, strategy: Strategy) -> Graph:
        """One batch's product as a program, linearized or compiled; for matrices that `can_trace`."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Finds what the graphs of batches need of all data, before a pass in which ranks have other batches."""

    def release(self) -> None:
        """Frees the kept graphs, so that others have their memory."""
        self._graphs.release()

    # -- products ------------------------------------------------------------------------------------------------

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block of columns, `(P, K) -> (P, K)`, in one pass over the data."""
        if self._micro_batch != self.objective.largest_micro_batch:  # memory ran out; smaller graphs may be kept again
            self._micro_batch = self.objective.largest_micro_batch
            self._graphs.release()
        product = self.objective.accumulate(lambda batch: self.batch_product(batch, block))
        self._graphs.passes += 1
        kept = "graphs kept" if self._graphs.keeping else "graphs rebuilt"
        self.objective.strategies.graphs[self._key(block)] = kept
        return product.div_(self.objective.count)

    def batch_product(self, batch: Batch, block: Tensor) -> Tensor:
        """The product of one batch's sum with a block, `(P, K) -> (P, K)`.

        When memory runs out, half as many columns share a call, then no graphs are kept; with one column and no kept
        graph the error is raised. Graphs into which the model writes are not kept either.
        """
        key, cache = self._key(block), self.objective.strategies
        while True:
            strategy = Strategy()  # so that the handlers below have a strategy if choosing one raises
            try:
                strategy = self._choose(batch, block)
                check = self._graphs.needs_check(batch)
                product = self._multiply(batch, block, strategy)
                if not (check and self._is_stale(batch, block, product)):
                    return product
                following = strategy
            except NoBatchingError:
                following = Strategy()
            except Exception as error:  # a program may raise anything
                following = fallback(strategy, error, self._graphs, cache.add_note)
            self._graphs.discard(batch)
            if key in cache.chosen:  # else the next round tries all strategies again
                cache.chosen[key] = following

    def _is_stale(self, batch: Batch, block: Tensor, product: Tensor) -> bool:
        """Whether a kept graph gives another product than a new one; graphs are then never kept again."""
        expected = self.graph(batch)(block[:, :1], chunk_size=1, retain_graph=False)
        same = distance(product[:, 0], expected[:, 0]) <= KEPT_GRAPH_TOLERANCE * norm(expected)
        return not same and self._graphs.never_keep()

    def _multiply(self, batch: Batch, block: Tensor, strategy: Strategy) -> Tensor:
        graph = self._graph_for(batch, strategy)
        return graph(block, chunk_size=strategy.columns, retain_graph=self._graphs.keeping)

    def _graph_for(self, batch: Batch, strategy: Strategy) -> Graph:
        if strategy.kind in GRAPH_KINDS:
            return self._graphs.graph_for(batch, self.graph)
        return self._graphs.graph_for(batch, self.graph, lambda piece: self._program(piece, strategy), str(strategy))

    def _program(self, batch: Batch, strategy: Strategy) -> Graph:
        if strategy.kind == "recorded":
            return record_product(batch, self.graph, self.objective.device)
        return self.trace(batch, strategy)

    # -- strategies ----------------------------------------------------------------------------------------------

    def _key(self, block: Tensor) -> ProductKey:
        return ProductKey(self.name, block.shape[1], self._micro_batch)

    def _choose(self, batch: Batch, block: Tensor) -> Strategy:
        """The strategy of earlier products of this kind; at the first product the user's, or the winner of a trial."""
        key, cache = self._key(block), self.objective.strategies
        if key not in cache.chosen:
            cache.chosen[key] = self._try_strategies(batch, block)
        return cache.chosen[key]

    def _try_strategies(self, batch: Batch, block: Tensor) -> Strategy:
        strategies = self._candidates(batch, block.shape[1])
        if len(strategies) == 1:
            return strategies[0]
        plain = self._graphs.graph_for(batch, self.graph)

        def graph_of(strategy: Strategy) -> Graph:
            return plain if strategy.kind in GRAPH_KINDS else self._graph_for(batch, strategy)

        return fastest_strategy(strategies, graph_of, block, self.objective.strategies.add_note)

    def _candidates(self, batch: Batch, columns: int) -> list[Strategy]:
        device, cache = self.objective.device, self.objective.strategies
        if cache.room is None:  # a run that is resumed chooses by what was free when it began, for the same bits
            cache.room = room("columns", device)
        facts = ProductFacts(
            columns=columns,
            activation_bytes=self.objective.activation_bytes * self.objective.largest_micro_batch,
            device=device.type,
            room=cache.room,
            traceable=self.can_trace,
            compilable=self.can_trace and tree_form((batch.inputs, batch.targets)) is not None,
        )
        return candidates(facts, self.objective.settings, lambda: self._graphs.all_fit(self.graph))

    def strategy(self, columns: int) -> Strategy | None:
        """The strategy of the last products with so many columns; None before the first."""
        return self.objective.strategies.latest(self.name, columns)

    def strategy_bytes(self, columns: int, strategy: Strategy) -> int:
        """The peak memory of a product with so many columns: graphs, columns of one call, arguments and results."""
        objective = self.objective
        graphs = self._graphs.estimate_bytes(self.graph)
        if not self._graphs.has_room(graphs):  # one graph at a time
            graphs = graphs * objective.largest_micro_batch // objective.batches.samples
        call = COLUMN_ACTIVATIONS * strategy.columns * objective.activation_bytes * objective.largest_micro_batch
        vectors = 2 * columns + 3  # arguments and results, also as rows, and the sum over micro-batches
        return graphs + round(call) + vectors * objective.theta.nbytes

    # -- sums over groups of samples -----------------------------------------------------------------------------

    @property
    def additive(self) -> bool:
        """Whether the matrix is a sum over samples: unless the loss depends on where batches end."""
        return not self.objective.as_given

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """v'S v for each column v and each group's own sum S over samples, and each group's number of loss terms.

        Shapes `(G, K)` and `(G,)`, float64. The groups of samples end before the ascending `cuts`, which are positions
        in the data set; the last group is the rest.
        """
        columns = block.shape[1]
        self.prepare()
        self._record_products_by_sample(columns)

        def kernel(batch: Batch) -> Tensor:
            rows = torch.zeros((len(cuts) + 1, columns + 1), dtype=torch.float64, device=block.device)
            for piece in batch.cut(cuts):
                row = rows[bisect_right(cuts, piece.first)]
                image = self.graph(piece)(block, chunk_size=1, retain_graph=False)
                row[:columns] += row_dots(block.T, image.T)
                row[columns] += self.objective.batch_count(piece)
            return rows

        rows = self.objective.accumulate(kernel)
        return rows[:, :columns], rows[:, columns]

    def _record_products_by_sample(self, columns: int) -> None:
        """Names such products among those with a strategy, by which the closing checks know what was measured."""
        if self.objective.settings.hvp != "difference":
            key = ProductKey(f"{self.name} by groups of samples", columns, self._micro_batch)
            self.objective.strategies.chosen.setdefault(key, Strategy())

    def on_samples(self, first: int, end: int) -> SampleRangeOperator:
        """The matrix on the samples from position `first` up to `end` alone."""
        return SampleRangeOperator(self, first, end)
