"""Certificates that no wanted eigenvalue was missed, by a bound on what a random start misses.

Kuczynski and Wozniakowski (1992, theorem 4.2): after s Lanczos steps from a uniformly random start in n dimensions, the
largest Ritz value lies below the largest eigenvalue by more than eps times the width of the spectrum with probability
at most 1.648 sqrt(n) exp(-sqrt(eps) (2 s - 1)). By symmetry the same holds at the lower end. Both ends of the space
that a search explores are bounded in this way, and so is its width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.algorithms.lanczos.basis import eigh
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs

ENDS = 2  # of the spectrum: the bounds at both ends are used, and each of them may fail
BOUND_FACTOR = 1.648  # of the theorem


@dataclass(frozen=True)
class Certificate:
    """The probability that an eigenvalue further out than the wanted ones by more than `margin` was missed.

    `probability` is an upper bound of it.

    `gap` is the search's part of the margin, relative to the width of the spectrum that was left to search.
    """

    gap: float
    probability: float
    margin: float


def miss_probability(size: int, gap: float, steps: int) -> float:
    """A bound on the probability that s steps in `size` dimensions miss either end by more than the gap."""
    return min(1.0, ENDS * BOUND_FACTOR * math.sqrt(size) * math.exp(-math.sqrt(gap) * (2 * steps - 1)))


def steps_for(size: int, gap: float, probability: float) -> int:
    """The fewest steps after which `miss_probability` is at most the given one."""
    exponent = math.log(ENDS * BOUND_FACTOR * math.sqrt(size) / probability)
    return max(1, math.ceil((exponent / math.sqrt(gap) + 1) / 2))


def search_length(wanted: WantedPairs, cycle: int, size: int) -> int:
    """Steps of search number `cycle`, from 1, in `size` dimensions: at least `wanted.confirm`.

    With a gap to certify, each search has half the failure probability of the search before it, so that all together
    fail with at most `wanted.probability`.
    """
    if wanted.gap is None:
        return wanted.confirm
    return max(wanted.confirm, steps_for(size, wanted.gap, wanted.probability * 0.5**cycle))


def certificate(state: LanczosState, wanted: WantedPairs) -> Certificate | None:
    """The certificate of a finished run by its last search; None if that was too short or had to restart.

    The locked vectors are not exact: that moves eigenvalues by at most the norm of their residuals (Weyl).
    """
    if state.exhausted:
        return Certificate(0.0, 0.0, state.noise)
    size = state.size
    long_enough = state.cycle > 0 and state.cycle_steps >= search_length(wanted, state.cycle, size)
    if wanted.gap is None or not long_enough or state.active != state.cycle_products:
        return None
    values = ritz_pairs(state, wanted).values
    own = eigh(state.projected)[0]
    width = float(own[-1] - own[0]) / (1 - ENDS * wanted.gap)
    inexact = math.hypot(float(np.linalg.norm(state.locked_residuals)), state.noise)
    # the searches before the last one could fail as well, each with half the probability of the one before
    earlier = wanted.probability * (1 - 0.5 ** (state.cycle - 1))
    return Certificate(
        gap=wanted.gap,
        probability=earlier + miss_probability(size, wanted.gap, state.cycle_steps),
        margin=_excess(values, own, wanted) + wanted.gap * width + inexact,
    )


def _excess(values: np.ndarray, own: np.ndarray, wanted: WantedPairs) -> float:
    """By how much the search's own values lie further out than the wanted ones: by less than the tolerance."""
    if wanted.which == "magnitude":
        return max(0.0, float(np.abs(own).max() - np.abs(values).min()))
    upper, lower = float(own[-1]), float(own[0])
    above, below = max(0.0, upper - float(values.min())), max(0.0, float(values.max()) - lower)
    if wanted.which == "both":
        cut = -(-wanted.count // 2)
        above = max(0.0, upper - float(values[:cut].min()))
        below = max(0.0, float(values[cut:].max()) - lower) if len(values) > cut else 0.0
        return max(above, below)
    return above if wanted.which == "largest" else below
