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
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from landscape import seeds
from landscape.compute.inner_products import norm
from landscape.compute.strategy import ProductKey, Strategy
from landscape.data.batches import Batch
from landscape.errors import NumericalError
from landscape.objective import Objective
from landscape.objective.batch_loss import BatchLoss
from landscape.operators.difference_errors import ProductErrors
from landscape.operators.graphs import Graph

# Steps to choose from, from coarse to fine, relative to the norm of theta, or to 1 where that is less. The finest ones
# are for functions that oscillate many times within the norm of theta.
STEPS = {
    torch.float32: (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7),
    torch.float64: (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12),
}
USUAL = 3  # the step, by its index, at which the trial looks for a direction of large curvature
TRIAL_SAMPLES = 64  # on which the step is chosen: it decides two digits of the error, which all data then measure
PASS_VECTORS = 4  # of length P that a pass holds beside its columns: the gradient at theta, a move, and two gradients
FINER, GAIN = 10.0, 3.0  # a step finer by this factor is taken if it makes the difference smaller by that one
MAX_CHANGE = 0.2  # of a product with the step, relative to it: where any step has more, none serves (ReLU nets: 0.02)
ROUNDED = 100.0  # a product so many times its least rounding, at most, may be rounding alone
TINIEST = 1e-12  # the least norm of theta that steps are relative to
FINEST = {torch.float32: 1e-6, torch.float64: 1e-12}  # the finest step: gradients then have few digits in common


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
        product, bends = self.differences(block, self.step)
        for column, vector in enumerate(block.T):
            unit = self._size(vector, inverse=True)
            if unit == 0:
                continue
            bend, size = bends[column] / unit, self._size(product[:, column]) / unit
            if self.errors.are_due(bend, size):
                gap, kink = (one / unit for one in self._gaps(vector, product[:, column], bends[column], self.step))
                if self.errors.is_steep(max(gap, kink), size) and self._refine(vector, max(gap, kink), unit):
                    return product
                self.errors.add(bend, gap, kink)
            bends[column] = bend
        self.latest_errors = torch.tensor([self.errors.of(bend) for bend in bends])
        return product

    def _gaps(self, vector: Tensor, product: Tensor, bend: float, step: float) -> tuple[float, float]:
        """What a product with this step is uncertain by; raises NumericalError if that is not finite.

        First its difference to the product with twice the step, or the least rounding, which both may have in common.
        Then half of the bend at a kink that lies at theta itself: both steps see the same two slopes there.
        """
        coarser, (coarser_bend,) = self.differences(vector[:, None], 2 * step)
        gap = _require_finite(self._size(coarser[:, 0].sub_(product)))
        jump = 2 * bend - coarser_bend  # 0 for a smooth function, whose bend grows with the step; the bend at a kink
        return max(gap, self.rounding(norm(vector), self._size(product), step)), max(jump / 2, 0.0)

    def rounding(self, length: float, product: float, step: float) -> float:
        """The least rounding of a product of this norm with a vector of this length.

        It is that of the gradients, and of the moves: a change of one weight by its last bit, times the product.
        """
        gradient = length * self._size(self.center) / self.objective.count
        move = self.length / math.sqrt(len(self.theta)) * product
        return torch.finfo(self.theta.dtype).eps / 2 * (gradient + move) / (step * self.scale)

    def _refine(self, vector: Tensor, gap: float, unit: float) -> bool:
        """Whether a finer step serves this vector much better; it is then the step of all products from now on."""
        finer = self.step / FINER
        while finer >= self.finest:  # a kink beyond which no step has gone looks worse from nearby
            product, (bend,) = self.differences(vector[:, None], finer)
            # where both gradients are equal to the last bit, the step is lost in rounding
            if product.any() and max(self._gaps(vector, product[:, 0], bend, finer)) < gap * unit / GAIN:
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

    def quadratic_errors(self, block: Tensor) -> Tensor:
        """What v'Hv is uncertain by, for each column v `(P, K)`; `(3, K)`, float64.

        The rows are its change with twice the step, the part of a kink at theta, which that change cannot show, and the
        least rounding.
        """
        change, kink = self._sides(block, 2 * self.step)
        product, bend = self._sides(block, self.step)
        rounding = [
            self.rounding(norm(vector), self._size(image), self.step)
            for vector, image in zip(block.T, product, strict=True)
        ]
        change -= product
        kink -= bend.mul_(2)
        rows = [(block.T * part).sum(dim=1, dtype=torch.float64) for part in (change, kink)]
        return torch.stack([rows[0], rows[1].abs(), torch.tensor(rounding).to(rows[0])])

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
        return self.differences(vector[:, None], step)[0][:, 0]

    @cached_property
    def step(self) -> float:
        """The length of a move, relative to the norm of theta: that of earlier products, or the best of a trial."""
        known = self.objective.strategies.difference_step
        return known if known is not None else choose_step(self.objective, self.theta)

    @cached_property
    def length(self) -> float:
        """The norm of theta."""
        weights = self.loss.function.weights(self.theta)
        assert isinstance(weights, Tensor)  # as theta is
        return norm(weights)

    @cached_property
    def scale(self) -> float:
        """What steps are relative to: the norm of theta, but 1 at least.

        Tiny weights, and zeros, stand beside inputs and other weights of ordinary size: moves in proportion to them
        would be lost in rounding.
        """
        return max(self.length, 1.0)

    @cached_property
    def steps(self) -> tuple[float, ...]:
        """The steps to choose from; for a tiny theta down to the usual steps relative to its norm."""
        steps = list(STEPS[self.theta.dtype])
        while steps[-1] > 1.5 * self._relative(STEPS[self.theta.dtype][-1]):
            steps.append(steps[-2] / FINER if self.theta.dtype == torch.float32 else steps[-1] / FINER)
        return tuple(steps)

    @cached_property
    def finest(self) -> float:
        """The finest step that products are made with."""
        return self._relative(FINEST[self.theta.dtype])

    def _relative(self, step: float) -> float:
        """The step as a part of `scale` that is such a part of the norm of theta, or of 1 for zeros."""
        return step * max(self.length, TINIEST) / self.scale if self.length else step

    @cached_property
    def center(self) -> Tensor:
        """The summed gradient at theta, `(P,)`."""
        return self.objective.sums(lambda batch: (self.loss.batch_gradient(self.theta, batch)[1],))[0]

    def _size(self, vector: Tensor, *, inverse: bool = False) -> float:
        """The norm of a product in the metric, or of a vector that is multiplied."""
        if self.metric is None:
            return norm(vector)
        scaled = torch.where(self.metric == 0, 0.0, vector / self.metric) if inverse else vector * self.metric
        return norm(scaled)

    def _moves(self, norms: Tensor, step: float) -> Tensor:
        """t `(K,)` for columns of these norms; 0 for columns of zeros."""
        return torch.where(norms == 0, torch.zeros_like(norms), step * self.scale / norms)

    def differences(self, block: Tensor, step: float) -> tuple[Tensor, list[float]]:
        """The product `(P, K)` and the norm of the bend of each column."""
        change, bend = self._sides(block, step)
        return change.T, [self._size(row) for row in bend]

    def _sides(self, block: Tensor, step: float) -> tuple[Tensor, Tensor]:
        """The product and the bend of each column, as rows `(K, P)`."""
        norms = torch.linalg.vector_norm(block, dim=0)
        moves = self._moves(norms, step)
        change, total = self.objective.sums(lambda batch: self._both_sides(batch, block, moves))
        factors = norms / (2 * step * self.scale * self.objective.count)
        total.sub_(self.center, alpha=2)
        return change.mul_(factors[:, None]), total.mul_(factors[:, None])

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
    """The step, relative to `Differences.scale`, at which products change least with it; tried on a few samples.

    The direction is a random one and one of large curvature together, so that both rounding and kinks count. Changes
    are relative to the product: where gradients oscillate or saturate within a step, products fall with it, and so do
    their changes. Raises NumericalError if the gradient is not finite, or if no step serves.
    """
    samples = next(iter(objective.batches)).size if objective.as_given else TRIAL_SAMPLES
    trial = Differences(objective.first(samples), theta, "trial")
    noise = seeds.normal(len(theta), theta, 0, "difference step")
    steep = trial.product(trial.center, trial.steps[USUAL])
    direction = noise.div_(norm(noise)).add_(_unit(steep))
    best, chosen, flat = math.inf, math.sqrt(trial.steps[0] * trial.steps[1]), True
    coarse = trial.product(direction, trial.steps[0])
    for before, step in pairwise(trial.steps):
        fine, (bend,) = trial.differences(direction[:, None], step)
        fine, size = fine[:, 0], norm(fine)
        if size == 0:  # both gradients are equal to the last bit, and for finer steps as well
            break
        rounding = trial.rounding(norm(direction), size, step)
        change = (norm(coarse.sub_(fine)) + rounding) / size + min(bend / size, 1.0) ** 2
        flat = flat and size < ROUNDED * rounding
        if change < best:
            best, chosen = change, math.sqrt(before * step)
        coarse = fine
    if best < MAX_CHANGE:
        return chosen
    _require_finite(size)
    if not flat:
        raise NumericalError(
            "differences of gradients are too rough: they change with every step as much as they are large",
            why="the gradient has kinks, or changes within the last digits of the weights",
            fix="--dtype float64, or --hvp auto where the model has second derivatives",
        )
    return math.sqrt(trial.steps[0] * trial.steps[1])


def _unit(vector: Tensor) -> Tensor:
    """The vector at length 1; zeros stay zeros."""
    length = norm(vector)
    return vector / length if 0 < length < math.inf else torch.zeros_like(vector)


def _require_finite(number: float) -> float:
    """The number; raises NumericalError if it is NaN or infinite."""
    if not math.isfinite(number):
        raise NumericalError(
            f"differences of gradients are not finite: {number}",
            why="a gradient beside the checkpoint is infinite or undefined, or an overflow",
            fix="--dtype float64, or look for the samples and parameters with --limit and --params",
        )
    return number
