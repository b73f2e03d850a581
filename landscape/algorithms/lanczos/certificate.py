"""What a search for skipped eigenvalues proves: both ends of what was left to search are bounded, and so its width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.algorithms.lanczos.basis import eigh
from landscape.algorithms.lanczos.bound import ENDS, failure
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs


@dataclass(frozen=True)
class Certificate:
    """No eigenvalue beyond the wanted ones by more than `margin` was missed, unless with `probability`.

    `gap` is the part of the margin that comes from the search, relative to the width of what was left to search.
    """

    gap: float
    probability: float
    margin: float


def certificate(state: LanczosState, wanted: WantedPairs) -> Certificate | None:
    """What the last search of a finished run proves; None if it was too short or had to restart.

    The locked vectors are not exact: that moves eigenvalues by the norm of their residuals at most (Weyl).
    """
    if state.exhausted:
        return Certificate(0.0, 0.0, state.noise)
    size = state.basis.shape[1]
    long_enough = state.cycle > 0 and state.cycle_steps >= wanted.search_length(state.cycle, size)
    if wanted.gap is None or not long_enough or state.active != state.cycle_products:
        return None
    found = ritz_pairs(state, wanted).values
    own = eigh(state.projected)[0]
    width = float(own[-1] - own[0]) / (1 - ENDS * wanted.gap)
    inexact = math.hypot(float(np.linalg.norm(state.locked_residuals)), state.noise)
    # searches before the last one had their shares of the probability, half as much each time
    earlier = wanted.probability * (1 - 0.5 ** (state.cycle - 1))
    return Certificate(
        gap=wanted.gap,
        probability=earlier + failure(size, wanted.gap, state.cycle_steps),
        margin=_excess(found, own, wanted) + wanted.gap * width + inexact,
    )


def _excess(found: np.ndarray, own: np.ndarray, wanted: WantedPairs) -> float:
    """How far the search's own values lie beyond the wanted ones: at most the tolerance, or they had been taken."""
    if wanted.which == "magnitude":
        return max(0.0, float(np.abs(own).max() - np.abs(found).min()))
    upper, lower = float(own[-1]), float(own[0])
    above, below = max(0.0, upper - float(found.min())), max(0.0, float(found.max()) - lower)
    if wanted.which == "both":
        cut = -(-wanted.count // 2)
        above = max(0.0, upper - float(found[:cut].min()))
        below = max(0.0, float(found[cut:].max()) - lower) if len(found) > cut else 0.0
        return max(above, below)
    return above if wanted.which == "largest" else below
