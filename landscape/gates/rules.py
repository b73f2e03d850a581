"""Whether two measurements differ by more than is allowed, and by more than their noise.

Two rules, never mixed. *Same weights*: one value each; the gap counts if it is more than the tolerance and more than
three standard errors, where the error is that of the draws which both share, or what the baseline's own error predicts,
whichever is smaller. *Retrained*: several values each; the ratio counts if it is more than the tolerance and Welch's
one-sided test on the logarithms is significant (Welch 1947).

The candidate's own error never widens what is allowed: a candidate that is noisier than the baseline says it should be
is not settled, and what is not settled does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri, nctdtrinc, stdtr, stdtrit

from landscape.gates.metric import Reading
from landscape.gates.policy import Direction, Rule

SIGMAS = 3.0  # standard errors: one comparison in 700 is beyond them by chance, in the direction that counts
NOISIER = 3.0  # times the error that the baseline predicts: of 8 draws each, one in 100 is beyond it
RARE = 1e-3  # chance of a spread among candidates that is called too large
POWER = 0.9  # probability with which a change that is called detectable is found
FEWEST = {"baseline": 5, "candidate": 3}  # checkpoints: fewer leave Welch's test without power, whatever the change


@dataclass(frozen=True)
class Comparison:
    """A candidate beside its baseline; amounts count in the direction that the rule forbids.

    `gap` is how much worse the candidate is, `allowed` how much it may be, `noise` what noise alone may make of it,
    `error` its standard error and `chance` the p-value where a test was made; of retrained checkpoints, they are those
    of logarithms. `unsettled` says why the candidate is too uncertain to pass; "" if it is not.
    """

    baseline: float
    candidate: float
    gap: float
    allowed: float
    error: float
    noise: float
    chance: float | None = None
    unsettled: str = ""
    logarithms: bool = False  # whether gap, allowed, error and noise are of logarithms

    @property
    def worse(self) -> bool:
        return self.gap > self.allowed and self.gap > self.noise

    @property
    def better(self) -> bool:
        return -self.gap > self.allowed and -self.gap > self.noise

    @property
    def hidden(self) -> str:
        """The change that noise may make, in words."""
        return self.share(math.expm1(self.noise) * abs(self.baseline) if self.logarithms else self.noise)

    def share(self, amount: float, sign: str = "") -> str:
        """An amount in words, as a share of the baseline's size: `3.1 %`; as it is beside a baseline of 0."""
        return f"{100 * amount / abs(self.baseline):{sign}.3g} %" if self.baseline else f"{amount:{sign}.3g}"


def directed(direction: Direction, gap: float) -> float:
    """How much worse a rise of `gap` is."""
    return {"increase": gap, "decrease": -gap, "both": abs(gap)}[direction]


# -- one value each ------------------------------------------------------------------------------------------------


def same_weights(baseline: Reading, candidate: Reading, rule: Rule) -> Comparison:
    """One value each: the rule for a checkpoint that should be the same."""
    gap = directed(rule.direction, candidate.value - baseline.value)
    allowed = max(rule.tolerance.of(baseline.value), baseline.floor)
    error = gap_error(baseline, candidate)
    unsettled = _unsettled(baseline, candidate, allowed - gap)
    return Comparison(baseline.value, candidate.value, gap, allowed, error, SIGMAS * error, unsettled=unsettled)


def gap_error(baseline: Reading, candidate: Reading) -> float:
    """The standard error of the difference: that of shared draws, or what the baseline predicts, if smaller."""
    known = baseline.error or 0.0
    predicted = math.hypot(known, _predicted(baseline, candidate))
    if len(baseline.draws) < 2 or len(baseline.draws) != len(candidate.draws):
        return predicted
    mine, theirs = np.array(candidate.draws), np.array(baseline.draws)
    plain = float(theirs.std(ddof=1))
    # an estimator's error is that of independent draws times a factor of its own: XTrace's share their sketch
    factor = known / plain if plain > 0 else 0.0
    return min(float((mine - theirs).std(ddof=1)) * factor, predicted)


def _predicted(baseline: Reading, candidate: Reading) -> float:
    """The error that the candidate should have by the baseline's variance, at its own number of draws."""
    ratio = len(baseline.draws) / len(candidate.draws) if baseline.draws and candidate.draws else 1.0
    return (baseline.error or 0.0) * math.sqrt(ratio)


def _unsettled(baseline: Reading, candidate: Reading, room: float) -> str:
    """Why the candidate is too uncertain to pass: its own error neither fits the room that is left nor is as usual."""
    if candidate.error is None:
        return "" if baseline.error is None else "the candidate's error is not known, and the baseline's is"
    if SIGMAS * candidate.error <= room or candidate.error <= NOISIER * _predicted(baseline, candidate):
        return ""
    usual = _predicted(baseline, candidate)
    return f"its own error is {candidate.error:.3g}, where the baseline's lets one expect {usual:.3g}"


# -- several values each -------------------------------------------------------------------------------------------


def retrained(baseline: Sequence[float], candidate: Sequence[float], rule: Rule) -> Comparison:
    """Several values each, at least two: the rule for new training runs.

    Values of both signs have no logarithm: their means are compared as they are.
    """
    mine, theirs = np.array(candidate, dtype=float), np.array(baseline, dtype=float)
    geometric = bool((mine > 0).all() and (theirs > 0).all())
    if geometric:
        mine, theirs = np.log(mine), np.log(theirs)
    centre = float(np.exp(theirs.mean()) if geometric else theirs.mean())
    amount = rule.tolerance.of(centre)
    allowed = _log_amount(amount / centre, rule.direction) if geometric else amount
    gap = directed(rule.direction, float(mine.mean() - theirs.mean()))
    error, freedom = welch(theirs, mine)
    alpha = rule.alpha / 2 if rule.direction == "both" else rule.alpha
    noise = float(-stdtrit(freedom, alpha)) * error if error else 0.0
    chance = float(stdtr(freedom, -gap / error)) if error else float(gap <= 0)
    found = float(np.exp(mine.mean()) if geometric else mine.mean())
    return Comparison(centre, found, gap, allowed, error, noise, chance, _scattered(theirs, mine), geometric)


def welch(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The standard error of the difference of two means, and its degrees of freedom (Welch 1947)."""
    parts = np.array([values.var(ddof=1) / len(values) for values in (first, second)])
    total = float(parts.sum())
    if not total:
        return 0.0, math.inf
    counts = np.array([len(first), len(second)])
    return math.sqrt(total), total**2 / float((parts**2 / (counts - 1)).sum())


def detectable(spread: float, counts: tuple[int, int], alpha: float) -> float:
    """The relative increase that `retrained` finds with a probability of about 0.9, by the noncentral t distribution.

    `spread` is the standard deviation of the logarithms. The test's degrees of freedom are those of equal variances; as
    they vary from sample to sample, the probability is 0.82 for 5 against 3, and 0.9 for more.
    """
    shares = np.array([1 / count for count in counts])
    freedom = float(shares.sum() ** 2 / (shares**2 / (np.array(counts) - 1)).sum())
    centre = float(nctdtrinc(freedom, 1 - POWER, -stdtrit(freedom, alpha)))
    return math.expm1(centre * spread * math.sqrt(shares.sum()))


def _log_amount(share: float, direction: Direction) -> float:
    """The allowed share of change on the scale of logarithms."""
    if direction == "decrease":
        return -math.log1p(-share) if share < 1 else math.inf
    return math.log1p(share)


def _scattered(baseline: np.ndarray, candidate: np.ndarray) -> str:
    """That candidates differ among each other as the baseline's checkpoints do not; "" if they do not."""
    usual, found = baseline.var(ddof=1), candidate.var(ddof=1)
    most = float(fdtri(len(candidate) - 1, len(baseline) - 1, 1 - RARE))
    if found <= most * usual:
        return ""
    return f"the candidates' spread is {math.sqrt(found / usual) if usual else math.inf:.3g} times the baseline's"
