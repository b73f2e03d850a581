"""The search for the critical step: the smallest step x > 0 at which f(x) < f(0) ends.

The change c(x) = f(x) - f(0) has a root at 0 beside the one that is searched. The search works on h(x) = c(x) / x,
which has the second root alone, and is linear where f is quadratic. An exponential search brackets the root. Inverse
quadratic interpolation then places points close to it on either side, and the middle of the bracket takes their place
where h is too curved for it (Chandrupatla 1997), or the last point has hardly shrunk the bracket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

GROWTH = 8.0  # of a step without a model of f: a decade in about an evaluation
NUDGE = 0.0125  # of an expected root at most: by how much a step passes it, so that the bracket's ends are near
NUDGE_GROWTH = 4.0  # of the distance by which steps pass the expected root, after each step that fell short
SHRINKAGE = 0.75  # of the bracket by an interpolated point; after one that shrinks it less the middle is next
NARROW = 4.0  # ratio of the bracket's ends from which the geometric mean is its middle


@dataclass(frozen=True)
class CrossingSearch:
    """The points evaluated so far: `steps` x > 0 in the order of their evaluation, and `changes` f(x) - f(0).

    `slope` is f'(0), or None where it is not known. A change that is NaN or infinite counts as one that is not below 0.
    `tol` is the width of the bracket, relative to its upper end, at which the search ends.
    """

    first: float
    tol: float
    slope: float | None = None
    steps: tuple[float, ...] = ()
    changes: tuple[float, ...] = ()

    def with_point(self, step: float, change: float) -> CrossingSearch:
        """The search after one more evaluation."""
        return replace(self, steps=(*self.steps, step), changes=(*self.changes, change))

    @property
    def upper(self) -> float:
        """The smallest step whose change is not below 0; infinity if there is none."""
        return min((x for x, c in self._points if not c < 0), default=math.inf)

    @property
    def lower(self) -> float:
        """The largest step below `upper` whose change is below 0; 0 if there is none."""
        return max((x for x, c in self._points if c < 0 and x < self.upper), default=0.0)

    @property
    def bracketed(self) -> bool:
        """Whether both ends of the bracket were evaluated."""
        return self.lower > 0 and self.upper < math.inf

    @property
    def converged(self) -> bool:
        """Whether the bracket is as narrow as asked for."""
        return self.bracketed and self.upper - self.lower <= self.tol * self.upper

    @property
    def root(self) -> float:
        """The critical step by linear interpolation of h in the bracket; NaN without a finite change at either end."""
        known = dict(self._points)
        if not self.bracketed or not math.isfinite(known[self.upper]):
            return math.nan
        return _linear_root((self.lower, self._h(self.lower)), (self.upper, self._h(self.upper)))

    def next_step(self) -> float:
        """The step to evaluate next."""
        if not self.steps:
            return self.first
        if self.upper == math.inf:
            return self._longer_step()
        return self._step_inside() if self.lower > 0 else self._shorter_step()

    @property
    def _nudge(self) -> float:
        """By how much a step passes an expected root, relative to it."""
        return min(self.tol / 4, NUDGE)

    @property
    def _points(self) -> list[tuple[float, float]]:
        return list(zip(self.steps, self.changes, strict=True))

    def _h(self, step: float) -> float:
        return dict(self._points)[step] / step

    def _model_points(self) -> list[tuple[float, float]]:
        """The points (x, h(x)) of finite value, that at 0 included where the slope is known."""
        start = [] if self.slope is None else [(0.0, self.slope)]
        return start + sorted((x, c / x) for x, c in self._points if math.isfinite(c))

    def _longer_step(self) -> float:
        """A step beyond all points, which are all below: past the root of the line through the last two."""
        points = self._model_points()
        guess = _linear_root(*points[-2:]) if len(points) > 1 else math.nan
        if not self.lower < guess < math.inf:
            return GROWTH * self.lower
        past = guess * (1 + self._nudge * NUDGE_GROWTH ** (len(self.steps) - 1))
        return min(max(past, (1 + 2 * self._nudge) * self.lower), GROWTH**2 * self.lower)

    def _shorter_step(self) -> float:
        """A step before all points, none of which is below."""
        points = self._model_points()
        guess = _linear_root(*points[:2]) if len(points) > 1 and points[0][1] < 0 else math.nan
        if not 0 < guess < self.upper:
            return self.upper / GROWTH
        short = guess * max(1 - self._nudge * NUDGE_GROWTH ** (len(self.steps) - 1), 1 / GROWTH)
        return max(short, self.upper / GROWTH**2)

    def _step_inside(self) -> float:
        """A step in the bracket: just past the interpolated root, so that both ends come close to it."""
        middle = _middle(self.lower, self.upper)
        guess = self._interpolate_root()
        if guess is None or self._is_slow():
            return middle
        side = 1 if guess - self.lower <= self.upper - guess else -1
        step = guess + side * min(self._nudge * guess, (self.upper - self.lower) / 4)
        return step if self.lower < step < self.upper else middle

    def _interpolate_root(self) -> float | None:
        """The root of h in the bracket by inverse interpolation of the nearest points; None if they do not tell it."""
        if not math.isfinite(dict(self._points)[self.upper]):
            return None
        low, high = (self.lower, self._h(self.lower)), (self.upper, self._h(self.upper))
        outside = [point for point in self._model_points() if not low[0] <= point[0] <= high[0]]
        if not outside:
            return _linear_root(low, high)
        third = min(outside, key=lambda point: max(low[0] - point[0], point[0] - high[0]))
        near, far = (low, high) if third[0] < low[0] else (high, low)
        return _inverse_quadratic_root(near, far, third) if _is_monotone(near, far, third) else None

    def _is_slow(self) -> bool:
        """Whether the last evaluation has hardly shrunk the bracket that there was before it."""
        before = replace(self, steps=self.steps[:-1], changes=self.changes[:-1])
        return before.bracketed and self.upper - self.lower > SHRINKAGE * (before.upper - before.lower)


def _middle(low: float, high: float) -> float:
    return math.sqrt(low * high) if high > NARROW * low else (low + high) / 2


def _linear_root(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The root of the line through two points (x, h); NaN if it has none."""
    (a, ha), (b, hb) = one, other
    return math.nan if ha == hb else (a * hb - b * ha) / (hb - ha)


def _is_monotone(near: tuple[float, float], far: tuple[float, float], third: tuple[float, float]) -> bool:
    """Whether the parabola x(h) through the ends of a bracket and a third point, beside `near`, is monotone in it.

    Source: Chandrupatla 1997. It is where h is linear, and not where h is strongly curved.
    """
    place = (near[0] - far[0]) / (third[0] - far[0])
    value = (near[1] - far[1]) / (third[1] - far[1]) if third[1] != far[1] else math.inf
    return value**2 < place and (1 - value) ** 2 < 1 - place


def _inverse_quadratic_root(*points: tuple[float, float]) -> float:
    """x at h = 0 of the parabola x(h) through three points (x, h) of different h."""
    (a, ha), (b, hb), (c, hc) = points
    return (
        a * hb * hc / ((ha - hb) * (ha - hc))
        + b * ha * hc / ((hb - ha) * (hb - hc))
        + c * ha * hb / ((hc - ha) * (hc - hb))
    )
