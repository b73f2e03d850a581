"""The rule for several values each: new training runs, whose numbers differ by the choice of the seed alone.

The ratio of geometric means is a regression if it is beyond the tolerance and Welch's one-sided test on the logarithms
is significant (Welch 1947). A large spread among the candidates does not let them pass: if the ratio is beyond the
tolerance and would be significant at the baseline's spread, the comparison is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import fdtri, nctdtrinc, ndtri, stdtr, stdtrit

from landscape.gates.comparison import Comparison, worsening
from landscape.gates.policy import Rule, RuleDirection

SPREAD_ALPHA = 1e-2  # chance that candidates of the baseline's spread are called too scattered
DETECTION_POWER = 0.9  # probability with which the gate reports a change that it calls detectable
MIN_CHECKPOINTS = {
    "baseline": 5,
    "candidate": 3,
}  # with fewer, Welch's test finds hardly any change


def compare_retrained(baseline: Sequence[float], candidate: Sequence[float], rule: Rule) -> Comparison:
    """Compares several values each, at least two, by the rule.

    If some values are 0 or below, they have no logarithm, and the plain means are compared.
    """
    mine, theirs = np.array(candidate, dtype=float), np.array(baseline, dtype=float)
    geometric = bool((mine > 0).all() and (theirs > 0).all())
    if geometric:
        mine, theirs = np.log(mine), np.log(theirs)
    center, value = centers(baseline, candidate)
    rise = float(mine.mean() - theirs.mean())
    gap = worsening(rule.direction, rise)
    amount = rule.tolerance.of(center)
    allowed = _log_amount(amount / center, rule.direction, rise) if geometric else amount
    error, freedom = welch_error(theirs, mine)
    sides = 2 if rule.direction == "both" else 1
    noise = float(-stdtrit(freedom, rule.alpha / sides)) * error if error else 0.0
    p_value = min(1.0, sides * float(stdtr(freedom, -gap / error))) if error else float(gap <= 0)
    hidden = allowed < gap <= noise and gap > significant_difference(theirs, len(mine), rule.alpha / sides)
    words = (
        "by the spread of the earlier checkpoints it is a regression, which the candidates' own spread hides"
        if hidden
        else ""
    )
    too_uncertain = words or _scatter_problem(theirs, mine)
    return Comparison(center, value, gap, allowed, error, noise, p_value, too_uncertain, geometric)


def centers(baseline: Sequence[float], candidate: Sequence[float]) -> tuple[float, float]:
    """The geometric mean of each group, or the plain mean of both if some value is 0 or below; NaN of no values."""
    groups = [np.array(values, dtype=float) for values in (baseline, candidate)]
    geometric = all(bool((values > 0).all()) for values in groups)
    means = [(np.exp(np.log(v).mean()) if geometric else v.mean()) if len(v) else math.nan for v in groups]
    return float(means[0]), float(means[1])


def welch_error(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The standard error of the difference of two means, and its degrees of freedom (Welch 1947)."""
    parts = np.array([values.var(ddof=1) / len(values) for values in (first, second)])
    total = float(parts.sum())
    if not total:
        return 0.0, math.inf
    counts = np.array([len(first), len(second)])
    return math.sqrt(total), total**2 / float((parts**2 / (counts - 1)).sum())


def significant_difference(baseline: np.ndarray, candidates: int, alpha: float) -> float:
    """The smallest significant difference of means, one-sided, if candidates have the baseline's spread."""
    error = float(baseline.std(ddof=1)) * math.sqrt(1 / len(baseline) + 1 / candidates)
    return float(-stdtrit(len(baseline) - 1, alpha)) * error


def detectable_increase(spread: float, counts: tuple[int, int], rule: Rule, center: float = 1.0) -> float:
    """The relative increase that the rule reports with a probability of 0.8 to 0.9.

    `spread` is the standard deviation of the logarithms; the tolerance is relative to `center`. The increase must be
    significant (noncentral t distribution, at the degrees of freedom of equal variances) and its estimate must lie
    beyond the tolerance. As the degrees of freedom vary from sample to sample, the probability is 0.82 for 5 against 3
    checkpoints, and nearer to 0.9 for more.
    """
    shares = np.array([1 / count for count in counts])
    freedom = float(shares.sum() ** 2 / (shares**2 / (np.array(counts) - 1)).sum())
    error = spread * math.sqrt(shares.sum())
    alpha = rule.alpha / 2 if rule.direction == "both" else rule.alpha
    significant = float(nctdtrinc(freedom, 1 - DETECTION_POWER, -stdtrit(freedom, alpha))) * error
    beyond = math.log1p(rule.tolerance.of(center) / center) + float(ndtri(DETECTION_POWER)) * error
    return math.expm1(max(significant, beyond))


def _log_amount(share: float, direction: RuleDirection, rise: float) -> float:
    """The allowed share of change as a difference of logarithms, of a rise or of a fall (a share below 1)."""
    falls = direction == "decrease" or (direction == "both" and rise < 0)
    if falls:
        return -math.log1p(-share) if share < 1 else math.inf
    return math.log1p(share)


def _scatter_problem(baseline: np.ndarray, candidate: np.ndarray) -> str:
    """Why the candidates are too scattered, by an F test against the baseline's spread; "" if they are not."""
    usual, own = baseline.var(ddof=1), candidate.var(ddof=1)
    most = float(fdtri(len(candidate) - 1, len(baseline) - 1, 1 - SPREAD_ALPHA))
    if own <= most * usual:
        return ""
    return (
        f"the candidates' spread is {math.sqrt(own / usual) if usual else math.inf:.3g} times that of the earlier ones"
    )
