"""The interval of a critical step by the choice of the samples, from the samples' losses at the points of the search.

With c_i(x) the change of the loss of sample i by a step x, the mean change c(x) has a standard error by the spread of
the c_i. The interval holds the steps at which c(x) = 0 is not rejected (Fieller 1954, for a ratio of means). Between
the points that were evaluated h_i(x) = c_i(x) / x is interpolated linearly, which is exact for quadratic losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.choices import NORMAL_HALF_WIDTH

REACH = 2.0  # times the largest step: how far beyond it an end of the interval is extrapolated
SUPPORT = 0.25  # of an end's distance from the root: a point at most so far from the end supports it
OPEN_END = 1.5  # times the root: where a point tells more about an interval without an upper end
BASELINE = 0.8  # of the last step at most: the point that a line beyond the last one begins at
BISECTIONS = 60  # of a segment: to the last bits of a double


@dataclass(frozen=True)
class ChangeCurve:
    """The mean change of the loss per unit of step, h(x) = c(x) / x, with its error, between the evaluated points.

    `steps` `(n,)` ascend, `slopes` `(n,)` are h at them, `deviations` `(n, N)` the samples' parts of h's error, whose
    products are covariances, and `noise` is the rounding error of c.
    """

    steps: np.ndarray
    slopes: np.ndarray
    deviations: np.ndarray
    noise: float = 0.0

    @classmethod
    def of(cls, steps: np.ndarray, changes: np.ndarray, counts: np.ndarray, noise: float = 0.0) -> ChangeCurve:
        """From the summed changes of N > 1 samples `(n, N)` at the steps `(n,)`, and their counts `(N,)`.

        Points whose changes are not all finite are left out. The mean is a ratio of sums, whose error is linearized.
        """
        finite = np.isfinite(changes).all(axis=1)
        order = np.flatnonzero(finite)[np.argsort(steps[finite])]
        steps, changes = steps[order], changes[order]
        means = changes.sum(axis=1) / counts.sum()
        samples = len(counts)
        factor = math.sqrt(samples / (samples - 1)) / counts.sum()
        deviations = factor * (changes - np.outer(means, counts))
        return cls(steps, means / steps, deviations / steps[:, None], noise)

    def at(self, step: float) -> tuple[float, float]:
        """h at a step, and its standard error."""
        low, high = self._support(step)
        width = self.steps[high] - self.steps[low]
        share = (step - self.steps[low]) / width if width else 0.0
        deviation = (1 - share) * self.deviations[low] + share * self.deviations[high]
        slope = (1 - share) * self.slopes[low] + share * self.slopes[high]
        return float(slope), math.hypot(float(np.linalg.norm(deviation)), self.noise / step)

    def errors(self) -> np.ndarray:
        """The standard error of the change at each step, `(n,)`."""
        lengths: np.ndarray = np.linalg.norm(self.deviations, axis=1)
        errors: np.ndarray = lengths * self.steps
        return errors

    def interval(self, root: float) -> tuple[float, float]:
        """The ends of the 95 % interval around a root of h; 0 and infinity where no evaluated point ends it."""
        return self._end(root, NORMAL_HALF_WIDTH, upwards=False), self._end(root, -NORMAL_HALF_WIDTH, upwards=True)

    def end_without_support(self, root: float) -> float | None:
        """The end of the interval that no evaluated point lies near, the upper one first; None if both have one."""
        low, high = self.interval(root)
        for end in (high if math.isfinite(high) else OPEN_END * root, low):
            if end > 0 and np.abs(self.steps - end).min() > SUPPORT * abs(end - root):
                return end
        return None

    def _support(self, step: float) -> tuple[int, int]:
        """The two points whose line gives h at a step."""
        last = len(self.steps) - 1
        if step > self.steps[last]:
            earlier = np.flatnonzero(self.steps <= BASELINE * self.steps[last])
            return (int(earlier[-1]) if len(earlier) else 0), last
        if step < self.steps[0]:
            later = np.flatnonzero(self.steps >= self.steps[0] / BASELINE)
            return 0, (int(later[0]) if len(later) else last)
        high = max(int(np.searchsorted(self.steps, step)), 1) if last else 0
        return max(high - 1, 0), high

    def _end(self, root: float, half_widths: float, *, upwards: bool) -> float:
        """The step nearest to the root on one side at which h plus so many standard errors is 0."""

        def bound(step: float) -> float:
            """h with its error, on the side of the root that is searched."""
            slope, error = self.at(step)
            return slope + half_widths * error

        smallest = float(self.steps[0]) / REACH
        beyond = [REACH * float(self.steps[-1])] if upwards else [smallest]
        points = sorted([x for x in self.steps.tolist() if (x > root) == upwards and x != root] + beyond)
        place = root
        for point in points if upwards else reversed(points):
            if (bound(point) >= 0) == upwards:
                return _bisect(bound, place, point)
            place = point
        return math.inf if upwards else 0.0


def _bisect(bound: Callable[[float], float], inside: float, outside: float) -> float:
    """The step between two at which the sign of `bound` changes."""
    sign = bound(outside) >= 0
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if (bound(middle) >= 0) == sign:
            outside = middle
        else:
            inside = middle
    return outside
