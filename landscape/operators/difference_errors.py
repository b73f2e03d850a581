"""The errors of products by differences of gradients, from those products that were made with two steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The error of a product over the difference of two steps: a kink within the smaller step shows half of its error, and
# other vectors have up to 1.4 times the rounding of those that were measured.
SPREAD = 3.0
ROUNDING_RANGE = 2.0  # the rounding of one product over that of another, at most: what is beyond grows with the bend
# A difference of two steps so many times the least one, or so large a part of the product, is a kink or a curve.
STEEP, STEEP_SHARE = 30.0, 1e-3
RISE = 3.0  # a bend so many times the largest one that was measured with two steps is measured as well


@dataclass
class ProductErrors:
    """The errors of products with unit vectors, from those that were measured with two steps.

    An error is a part of rounding, the same for all vectors, and a part in proportion to the bend.
    """

    rounding: float = math.inf  # the median difference of two steps: most vectors have rounding and little else
    slope: float = 0.0  # the largest part of a difference beyond rounding, relative to its bend
    kink_share: float = 0.0  # the largest part of a kink at theta, relative to its bend: half of it, or nothing
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

    def add(self, bend: float, difference: float, kink: float = 0.0) -> None:
        """Takes in a product that was measured with two steps, and the part of a kink that their difference lacks."""
        if kink > ROUNDING_RANGE * difference:
            self.kink_share = max(self.kink_share, kink / bend)
        self.measured = (*self.measured, (bend, max(difference, kink)))
        self.rounding = sorted(gap for _, gap in self.measured)[len(self.measured) // 2]
        self.bend = max(one for one, _ in self.measured)
        least = min(gap for _, gap in self.measured)
        self.slope = max(max(gap - ROUNDING_RANGE * least, 0.0) / (one or math.inf) for one, gap in self.measured)

    def of(self, bend: float) -> float:
        """The error of a product with this bend."""
        return SPREAD * max(self.rounding + self.slope * bend, self.kink_share * bend)

    @property
    def largest(self) -> float:
        """The largest error of all products up to now; 0 before the first."""
        return max(self.past, self.of(self.largest_bend)) if self.measured else 0.0
