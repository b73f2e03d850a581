"""The rule for one value each: a checkpoint that should be the same, after a conversion or a refactoring.

The gap counts if it is more than the tolerance and more than three standard errors, where the error is that of the
draws which both share, or what the baseline's own error predicts, whichever is smaller. The candidate's own error never
widens what is allowed: one that is noisier than the baseline says it should be is not settled, and does not pass.
"""

from __future__ import annotations

import math

import numpy as np

from landscape.gates.comparison import Comparison, worsening
from landscape.gates.metric import Reading
from landscape.gates.policy import Rule

SIGNIFICANT_ERRORS = (
    3.0  # standard errors: a normal gap is beyond them once in 700, one of 15 degrees of freedom once in 220
)
EXCESS_ERROR = 3.0  # times the error that the baseline predicts: of 8 draws each, one in 200 is beyond it


def compare_same_weights(baseline: Reading, candidate: Reading, rule: Rule) -> Comparison:
    """One value each, beside the rule. Neither may be unknown."""
    gap = worsening(rule.direction, candidate.value - baseline.value)
    allowed = rule.tolerance.of(baseline.value)
    error = difference_error(baseline, candidate)
    noise = max(SIGNIFICANT_ERRORS * error, baseline.floor)
    too_uncertain = _too_uncertain(baseline, candidate, allowed - gap)
    return Comparison(baseline.value, candidate.value, gap, allowed, error, noise, too_uncertain=too_uncertain)


def difference_error(baseline: Reading, candidate: Reading) -> float:
    """The standard error of the difference: that of shared draws, or what the baseline predicts, if smaller."""
    known = baseline.error or 0.0
    predicted = math.hypot(known, _predicted_error(baseline, candidate))
    if len(baseline.draws) < 2 or len(baseline.draws) != len(candidate.draws):
        return predicted
    mine, theirs = np.array(candidate.draws), np.array(baseline.draws)
    plain = float(theirs.std(ddof=1))
    # an estimator's error is that of independent draws times a factor of its own: XTrace's share their sketch
    factor = known / plain if plain > 0 else 0.0
    return min(float((mine - theirs).std(ddof=1)) * factor, predicted)


def _predicted_error(baseline: Reading, candidate: Reading) -> float:
    """The error that the candidate should have by the baseline's variance, at its own number of draws.

    An exact baseline says nothing of an estimate: its error is then the one that the options of both ask for.
    """
    if not baseline.error and candidate.error:
        return baseline.asked
    ratio = len(baseline.draws) / len(candidate.draws) if baseline.draws and candidate.draws else 1.0
    return (baseline.error or 0.0) * math.sqrt(ratio)


def _too_uncertain(baseline: Reading, candidate: Reading, room: float) -> str:
    """Why the candidate is too uncertain to pass: its own error neither fits the room that is left nor is as usual."""
    if candidate.error is None:
        return "" if baseline.error is None else "the candidate's error is not known, and the baseline's is"
    usual = _predicted_error(baseline, candidate)
    if SIGNIFICANT_ERRORS * candidate.error <= room or candidate.error <= EXCESS_ERROR * usual:
        return ""
    return f"its own error is {candidate.error:.3g}, where the baseline's lets one expect {usual:.3g}"
