"""The state of a search for worst cases: the balls, the search on one part of the data, and the parts before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from landscape.algorithms.ascent.ascent import AscentState
from landscape.algorithms.lanczos.state import LanczosState
from landscape.algorithms.snapshots import TENSOR, nested
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.choices import Norm

FOLLOWING_STARTS = 2  # of an ascent to a radius of the curve: the maximum of its neighbor, and along the gradient
FOLLOWING_STEPS = 10  # of these ascents, which begin near a maximum


@dataclass(frozen=True)
class BallSearch:
    """The balls, by their ascending radii, and the ascents: from `starts` starts, `steps` evaluations each.

    The last of `radii` is the head of the radii in `curve`, whose maxima are followed from there: to smaller radii one
    after the other, then to larger ones.
    """

    norm: Norm
    radii: tuple[float, ...]
    starts: int
    steps: int
    samples: int | None  # of each part of the data; None: all of it is one part
    seed: int
    curve: tuple[float, ...] = ()

    @property
    def order(self) -> tuple[float, ...]:
        """All radii in the order in which they are searched."""
        return (*self.radii, *curve_order(self.curve, self.radii[-1]))

    @property
    def own_columns(self) -> int:
        """Starts of the larger radii: one more than of the first, namely the best point of the radius before."""
        return self.starts + (self.starts > 1 and len(self.radii) > 1)

    @property
    def columns(self) -> int:
        """The most starts at any radius, those of the curve included."""
        return max(self.own_columns, FOLLOWING_STARTS if self.curve else 0)

    def follows(self, index: int) -> bool:
        """Whether the radius at that place of the order belongs to the curve."""
        return index >= len(self.radii)

    def leaves_head(self, index: int) -> bool:
        """Whether the search for the radius at that place begins at the head, not at the radius before."""
        order, head = self.order, self.radii[-1]
        return index == len(self.radii) or order[index - 1] < head < order[index]


@dataclass(frozen=True)
class PartState:
    """The search on one part of the data after some steps; `radius` is the index of the present radius."""

    weight: float
    dual: float
    curvature: float
    rises: np.ndarray  # (R, S)
    stationarity: np.ndarray  # (R, S)
    one_step: np.ndarray  # (R,)
    shares: np.ndarray  # (G,)
    radius: int = 0
    evaluations: int = 0
    gradients: float = 0.0  # the work so far, in gradients of the part
    # (k, P), the leading eigenvectors; None until their search ends
    vectors: Tensor | None = field(default=None, metadata=TENSOR)
    best: Tensor | None = field(default=None, metadata=TENSOR)  # (P,), the best point of the radius before
    head: Tensor | None = field(default=None, metadata=TENSOR)  # (P,), that of the head of a curve
    # the search for the eigenvectors, and the ascents at the present radius, while they run
    lanczos: LanczosState | None = field(default=None, metadata=nested(LanczosState))
    ascent: AscentState | None = field(default=None, metadata=nested(AscentState))


@dataclass(frozen=True)
class WorstCaseState:
    """The search on part number `part` of the data, and the maxima on the parts before it."""

    part: int
    finished: BallMaxima = field(metadata=nested(BallMaxima))
    current: PartState | None = field(default=None, metadata=nested(PartState))  # None before it begins


def curve_order(curve: tuple[float, ...], head: float) -> tuple[float, ...]:
    """The radii of a curve in the order in which they are searched: smaller ones from the head down, then larger ones.

    >>> curve_order((0.1, 0.2, 0.8, 1.6), 0.4)
    (0.2, 0.1, 0.8, 1.6)
    """
    smaller = sorted((radius for radius in curve if radius < head), reverse=True)
    return (*smaller, *sorted(radius for radius in curve if radius > head))


def begin_part(count: float, search: BallSearch, groups: int) -> PartState:
    """The state before the search on a part of the data whose loss is a mean over `count` terms."""
    shape = (len(search.order), search.columns)
    return PartState(
        weight=float(count),
        dual=np.nan,
        curvature=np.nan,
        rises=np.full(shape, np.nan),
        stationarity=np.full(shape, np.nan),
        one_step=np.full(shape[0], np.nan),
        shares=np.full(groups, np.nan),
    )


def append_part(finished: BallMaxima, state: PartState, share: float) -> BallMaxima:
    """The maxima with those of one more part, which has that share of the samples."""

    def extend(array: np.ndarray, row: object) -> np.ndarray:
        return np.concatenate([array, np.asarray(row, dtype=float)[None]])

    return BallMaxima(
        weights=extend(finished.weights, state.weight),
        duals=extend(finished.duals, state.dual),
        curvatures=extend(finished.curvatures, state.curvature),
        rises=extend(finished.rises, state.rises),
        stationarity=extend(finished.stationarity, state.stationarity),
        one_step=extend(finished.one_step, state.one_step),
        shares=extend(finished.shares, state.shares),
        evaluations=finished.evaluations + state.evaluations,
        gradients=finished.gradients + share * state.gradients,
    )


def no_maxima(search: BallSearch, groups: int) -> BallMaxima:
    """The maxima of no part at all."""
    by_start = np.zeros((0, len(search.order), search.columns))
    return BallMaxima(
        weights=np.zeros(0),
        duals=np.zeros(0),
        curvatures=np.zeros(0),
        rises=by_start,
        stationarity=by_start,
        one_step=np.zeros((0, len(search.order))),
        shares=np.zeros((0, groups)),
        evaluations=0,
        gradients=0.0,
    )
