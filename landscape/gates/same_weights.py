"""The rule for one value each: a checkpoint that should be the same, after a conversion or a refactoring.

The gap is a regression if it is above the tolerance and above three standard errors and the floor of rounding. The
standard error is that of the random vectors that both share, or the one that the baseline's own error predicts,
whichever is smaller. A large error of the candidate does not let it pass: a candidate that is much noisier than the
baseline predicts is inconclusive.
"""

from __future__ import annotations

import math

import numpy as np

from landscape.gates.comparison import Comparison, worsening
from landscape.gates.metric import Reading
from landscape.gates.policy import Rule

SIGNIFICANT_ERRORS = (
    3.0  # standard errors: a normal gap exceeds them once in 700, one with 15 degrees of freedom once in 220
)
EXCESS_ERROR = 3.0  # times the error that the baseline predicts: with 8 draws each, one candidate in 200 exceeds it


def compare_same_weights(baseline: Reading, candidate: Reading, rule: Rule) -> Comparison:
    """Compares one value each by the rule; both readings must have a number."""
    gap = worsening(rule.direction, candidate.value - baseline.value)
    allowed = rule.tolerance.of(baseline.value)
    error = difference_error(baseline, candidate)
    noise = max(SIGNIFICANT_ERRORS * error, baseline.floor)
    too_uncertain = _uncertainty_problem(baseline, candidate, allowed - gap)
    return Comparison(baseline.value, candidate.value, gap, allowed, error, noise, too_uncertain=too_uncertain)


def difference_error(baseline: Reading, candidate: Reading) -> float:
    """The standard error of the difference: from shared draws, or as the baseline predicts it if that is smaller."""
    known = baseline.error or 0.0
    predicted = math.hypot(known, _error_by_baseline(baseline, candidate))
    if len(baseline.draws) < 2 or len(baseline.draws) != len(candidate.draws):
        return predicted
    mine, theirs = np.array(candidate.draws), np.array(baseline.draws)
    plain = float(theirs.std(ddof=1))
    # an estimator's error is that of independent draws times a factor of its own: draws of XTrace share their sketch
    factor = known / plain if plain > 0 else 0.0
    return min(float((mine - theirs).std(ddof=1)) * factor, predicted)


def _error_by_baseline(baseline: Reading, candidate: Reading) -> float:
    """The error that the baseline's variance predicts for the candidate, at the candidate's number of draws.

    The variance of an exact baseline predicts nothing for an estimate; then it is the error that the options request.
    """
    if not baseline.error and candidate.error:
        return baseline.asked
    ratio = len(baseline.draws) / len(candidate.draws) if baseline.draws and candidate.draws else 1.0
    return (baseline.error or 0.0) * math.sqrt(ratio)


def _uncertainty_problem(baseline: Reading, candidate: Reading, room: float) -> str:
    """Why the candidate is too uncertain to pass; "" if its error fits into `room`, or is as the baseline predicts."""
    if candidate.error is None:
        return "" if baseline.error is None else "the candidate's error is not known, and the earlier one's is"
    usual = _error_by_baseline(baseline, candidate)
    if SIGNIFICANT_ERRORS * candidate.error <= room or candidate.error <= EXCESS_ERROR * usual:
        return ""
    return f"its own error is {candidate.error:.3g}, where {usual:.3g} was expected"
