"""Products of the Hessian as central differences of gradients, for models without second derivatives.

    H v = (g(theta + t v) - g(theta - t v)) / 2t,    t |v| = h

Three errors depend on the step h: the third derivatives of the gradient (h^2), its kinks, and its rounding (1/h). None
is known beforehand, so the step is chosen from differences at several steps, and the error of products is measured
with two steps. Every product also tells for free how unlike its two sides are: its bend, of norm

    |g(theta + t v) - 2 g(theta) + g(theta - t v)| / 2h,

which a kink on one side cannot hide. Where the bend is larger than in the products that were measured with two steps,
the product is measured with two steps as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from landscape import seeds
from landscape.compute.strategy import ProductKey, Strategy
from landscape.data.batches import Batch
from landscape.errors import NumericalError
from landscape.objective import Objective
from landscape.objective.batch_loss import BatchLoss
from landscape.operators.graphs import Graph

# Steps to choose from, relative to the norm of theta, from coarse to fine.
STEPS = {
    torch.float32: (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5),
    torch.float64: (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10),
}
TRIAL_SAMPLES = 64  # on which the step is chosen: it decides two digits of the error, which all data then measure
PASS_VECTORS = 4  # of length P that a pass holds beside its columns: the gradient at theta, a move, and two gradients
# The error of a product over the difference of two steps: a kink within the smaller step shows half of its error, and
# other vectors have up to 1.4 times the rounding of those that were measured.
SPREAD = 3.0
ROUNDING_RANGE = 2.0  # the rounding of one product over that of another, at most: what is beyond grows with the bend
# A difference of two steps so many times the least one, or so large a part of the product, is a kink or a curve: a step
# that is finer by the factor FINER is taken if it makes the difference smaller by the factor GAIN.
STEEP, STEEP_SHARE = 30.0, 1e-3
FINER, GAIN = 10.0, 3.0
FINEST = {torch.float32: 1e-6, torch.float64: 1e-12}  # the finest step: gradients then have few digits in common
RISE = 3.0  # a bend so many times the largest one that was measured with two steps is measured as well


@dataclass
class ProductErrors:
    """The errors of products with unit vectors, from those that were measured with two steps.

    An error is a part of rounding, the same for all vectors, and a part in proportion to the bend.
    """

    rounding: float = math.inf  # the median difference of two steps: most vectors have rounding and little else
    slope: float = 0.0  # the largest part of a difference beyond rounding, relative to its bend
    bend: float = 0.0  # the largest bend that was measured with two steps
    largest_bend: float = 0.0  # of any product
    largest_product: float = 0.0  # the largest norm of a product with a unit vector
    products: int = 0
    past: float = 0.0  # the largest error of products with another step
    hopeless: float = 0.0  # the largest difference of two steps that a finer step did not make much smaller
    measured: tuple[tuple[float, float], ...] = ()  # (bend, difference of two steps)

    def are_due(self, bend: float, product: float) -> bool:
        """Whether a product, one more, is to be measured with two steps: numbers 1, 2, 4, 8, ..., and those that bend.

        Its bend and its norm are those for a unit vector.
        """
        self.products += 1
        self.largest_product = max(self.largest_product, product)
        self.largest_bend = max(self.largest_bend, bend)
        return self.products & (self.products - 1) == 0 or not bend <= RISE * self.bend

    def is_steep(self, gap: float, product: float) -> bool:
        """Whether a difference of two steps, for a unit vector with such a product, is more than rounding."""
        least = min((gap for _, gap in self.measured), default=math.inf)
        return gap > max(RISE * self.hopeless, min(STEEP * least, STEEP_SHARE * product))

    def add(self, bend: float, difference: float) -> None:
        """Takes in a product that was measured with two steps."""
        self.measured = (*self.measured, (bend, difference))
        self.rounding = sorted(gap for _, gap in self.measured)[len(self.measured) // 2]
        self.bend = max(one for one, _ in self.measured)
        least = min(gap for _, gap in self.measured)
        self.slope = max(max(gap - ROUNDING_RANGE * least, 0.0) / (one or math.inf) for one, gap in self.measured)

    def of(self, bend: float) -> float:
        """The error of a product with this bend."""
        return SPREAD * (self.rounding + self.slope * bend)

    @property
    def largest(self) -> float:
        """The largest error of all products up to now; 0 before the first."""
        return max(self.past, self.of(self.largest_bend)) if self.measured else 0.0


class Differences:
    """The Hessian's products by differences, at `theta` of an objective."""

    def __init__(self, objective: Objective, theta: Tensor, name: str) -> None:
        self.objective = objective
        self.theta = theta.detach()
        self.name = name
        self.loss = BatchLoss(replace(objective.function, fused=True), objective.loss, objective.decay)
        self.metric: Tensor | None = None  # C `(P,)`, where products are part of C H C: errors are then those of C H C
        self.errors = ProductErrors()
        self._refined = False
        self.latest_errors: Tensor = torch.zeros(0)  # (K,), of the last block's columns, relative to their norms

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block, `(P, K) -> (P, K)`, in one pass over the data, and a second one at times."""
        product = self._product_with_error(block)
        while self._refined:
            self._refined = False
            product = self._product_with_error(block)
        if self.errors.measured:
            self.objective.strategies.record_error(self.errors.largest, self.errors.largest_product)
        return product

    def _product_with_error(self, block: Tensor) -> Tensor:
        """The product with a block; its errors are measured where that is due, and may make the step finer."""
        key = ProductKey(self.name, block.shape[1], self.objective.largest_micro_batch)
        self.objective.strategies.chosen[key] = Strategy("difference", 1, self.step)
        norms = torch.linalg.vector_norm(block, dim=0)
        product, bends = self._differences(block, norms, self.step)
        for column, vector in enumerate(block.T):
            unit = self._size(vector, inverse=True)
            if unit == 0:
                continue
            bends[column] /= unit
            size = self._size(product[:, column]) / unit
            if self.errors.are_due(bends[column], size):
                gap = self._gap(vector, product[:, column], self.step) / unit
                if self.errors.is_steep(gap, size) and self._refine(vector, gap, unit):
                    return product
                self.errors.add(bends[column], gap)
        self.latest_errors = torch.tensor([self.errors.of(bend) for bend in bends])
        return product

    def _gap(self, vector: Tensor, product: Tensor, step: float) -> float:
        """The difference of a product with this step and with twice the step; raises NumericalError if not finite."""
        return _require_finite(self._size(self.product(vector, 2 * step) - product))

    def _refine(self, vector: Tensor, gap: float, unit: float) -> bool:
        """Whether a finer step serves this vector much better; it is then the step of all products from now on."""
        finer = self.step / FINER
        while finer >= FINEST[self.theta.dtype]:  # a kink beyond which no step has gone looks worse from nearby
            if self._gap(vector, self.product(vector, finer), finer) < gap * unit / GAIN:
                break
            finer /= FINER
        else:
            self.errors.hopeless = gap
            return False
        self.step = finer
        self.objective.strategies.refine_differences(finer)
        self.errors = ProductErrors(past=self.errors.of(self.errors.bend) if self.errors.measured else 0.0)
        self._refined = True
        return True

    def quadratic_gaps(self, block: Tensor) -> Tensor:
        """By how much v'Hv changes, for each column v `(P, K)`, with twice the step; `(K,)`, float64."""
        norms = torch.linalg.vector_norm(block, dim=0)
        change = self._differences(block, norms, 2 * self.step)[0]
        change -= self._differences(block, norms, self.step)[0]
        return (block * change).sum(dim=0, dtype=torch.float64)

    def graph(self, batch: Batch) -> Graph:
        """The product of one batch's sum with a block, which holds nothing from call to call."""

        def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
            norms = torch.linalg.vector_norm(block, dim=0)
            change, _ = self._both_sides(batch, block, self._moves(norms, self.step))
            return change.mul_((norms / (2 * self.step * self.scale))[:, None]).T

        return product

    def peak_bytes(self, columns: int) -> int:
        """The peak memory of a product with so many columns: one graph at a time, both sums, a move and a gradient."""
        objective = self.objective
        graph = objective.activation_bytes * objective.largest_micro_batch
        return graph + (4 * columns + PASS_VECTORS) * objective.theta.nbytes

    def product(self, vector: Tensor, step: float) -> Tensor:
        """The product with one vector `(P,)` with this step, of which no error is measured."""
        return self._differences(vector[:, None], torch.linalg.vector_norm(vector)[None], step)[0][:, 0]

    @cached_property
    def step(self) -> float:
        """The length of a move, relative to the norm of theta: that of earlier products, or the best of a trial."""
        known = self.objective.strategies.difference_step
        return known if known is not None else choose_step(self.objective, self.theta)

    @cached_property
    def scale(self) -> float:
        """The norm of theta; 1 where all of it is 0."""
        return float(torch.linalg.vector_norm(self.loss.function.weights(self.theta))) or 1.0

    @cached_property
    def center(self) -> Tensor:
        """The summed gradient at theta, `(P,)`."""
        return self.objective.sums(lambda batch: (self.loss.batch_gradient(self.theta, batch)[1],))[0]

    def _size(self, vector: Tensor, *, inverse: bool = False) -> float:
        """The norm of a product in the metric, or of a vector that is multiplied."""
        if self.metric is None:
            return float(torch.linalg.vector_norm(vector))
        scaled = torch.where(self.metric == 0, 0.0, vector / self.metric) if inverse else vector * self.metric
        return float(torch.linalg.vector_norm(scaled))

    def _moves(self, norms: Tensor, step: float) -> Tensor:
        """t `(K,)` for columns of these norms; 0 for columns of zeros."""
        return torch.where(norms == 0, torch.zeros_like(norms), step * self.scale / norms)

    def _differences(self, block: Tensor, norms: Tensor, step: float) -> tuple[Tensor, list[float]]:
        """The product `(P, K)` and the bend of each column."""
        moves = self._moves(norms, step)
        change, total = self.objective.sums(lambda batch: self._both_sides(batch, block, moves))
        length = 2 * step * self.scale * self.objective.count
        bends = [
            self._size(row.sub_(self.center, alpha=2)) * norm / length if norm else 0.0
            for row, norm in zip(total, norms.tolist(), strict=True)
        ]
        del total
        change.mul_((norms / length)[:, None])
        return change.T, bends

    def _both_sides(self, batch: Batch, block: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
        """g(theta + t v) - g(theta - t v) and their sum, as rows `(K, P)`, of one batch's summed loss."""
        change, total = (self.theta.new_zeros((block.shape[1], len(self.theta))) for _ in range(2))
        for row, both, vector, move in zip(change, total, block.T, moves.tolist(), strict=True):
            if move == 0:
                continue
            for sign in (1, -1):
                _, gradient = self.loss.batch_gradient(torch.add(self.theta, vector, alpha=sign * move), batch)
                row.add_(gradient, alpha=sign)
                both.add_(gradient)
        return change, total


def choose_step(objective: Objective, theta: Tensor) -> float:
    """The step, relative to the norm of theta, at which products change least with it; tried on a few samples.

    The direction is a random one and one of large curvature together, so that both rounding and kinks count. Raises
    NumericalError if the gradient is not finite.
    """
    size = next(iter(objective.batches)).size if objective.as_given else TRIAL_SAMPLES
    trial = objective.first(size)
    steps = STEPS[theta.dtype]
    differences = Differences(trial, theta, "trial")
    noise = seeds.normal(len(theta), theta, 0, "difference step")
    steep = differences.product(differences.center, steps[len(steps) // 2])
    direction = noise.div_(torch.linalg.vector_norm(noise)).add_(_unit(steep))
    best, chosen, coarse = math.inf, steps[-1], differences.product(direction, steps[0])
    for before, step in pairwise(steps):
        fine = differences.product(direction, step)
        gap = _require_finite(float(torch.linalg.vector_norm(coarse.sub_(fine))))
        if gap < best:
            best, chosen = gap, math.sqrt(before * step)
        coarse = fine
    return chosen


def _unit(vector: Tensor) -> Tensor:
    """The vector at length 1; zeros stay zeros."""
    norm = torch.linalg.vector_norm(vector)
    return vector / norm if bool(norm > 0) and bool(norm.isfinite()) else torch.zeros_like(vector)


def _require_finite(number: float) -> float:
    """The number; raises NumericalError if it is NaN or infinite."""
    if not math.isfinite(number):
        raise NumericalError(
            f"differences of gradients are not finite: {number}",
            why="a gradient beside the checkpoint is infinite or undefined, or an overflow",
            fix="--dtype float64, or look for the samples and parameters with --limit and --params",
        )
    return number
