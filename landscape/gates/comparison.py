"""A candidate beside its baseline: the gap, the allowed gap, and the gap that noise alone may cause."""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.gates.policy import RuleDirection

BASELINE_ROUNDING = 1e-7  # relative: a baseline has eight digits


@dataclass(frozen=True)
class Comparison:
    """A candidate beside its baseline; amounts count in the direction that the rule forbids.

    `gap` is how much worse the candidate is, `allowed` the largest gap of the rule, `error` the gap's standard error,
    and `noise` the gap that noise alone may cause. `p_value` is there if a significance test was made. With
    `of_logarithms`, all of these are differences of logarithms. `too_uncertain` says why the candidate is too uncertain
    to pass; "" if it is certain enough.
    """

    baseline: float
    candidate: float
    gap: float
    allowed: float
    error: float
    noise: float
    p_value: float | None = None
    too_uncertain: str = ""
    of_logarithms: bool = False  # whether gap, allowed, error and noise are differences of logarithms

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse by more than the tolerance and by more than the noise."""
        return self.gap > self.allowed and self.gap > self.noise

    @property
    def better(self) -> bool:
        """Whether the candidate is better by more than the tolerance and by more than the noise."""
        return -self.gap > self.allowed and -self.gap > self.noise

    @property
    def hidden_change(self) -> str:
        """The change that noise alone may cause, in words."""
        noise = math.expm1(self.noise) * abs(self.baseline) if self.of_logarithms else self.noise
        return describe_amount(noise, self.baseline)


def describe_amount(amount: float, baseline: float, sign: str = "") -> str:
    """An amount as a share of the baseline's size: `3.1 %`; the amount itself beside a baseline of 0."""
    return f"{100 * amount / abs(baseline):{sign}.3g} %" if baseline else f"{amount:{sign}.3g}"


def describe_change(baseline: float, candidate: float) -> str:
    """The change in words: `+3.1 %`, or the amount beside a baseline of 0; `0 %` within the baseline's rounding.

    "" if one of the two is not finite.
    """
    if not (math.isfinite(baseline) and math.isfinite(candidate)):
        return ""
    if abs(candidate - baseline) < BASELINE_ROUNDING * abs(baseline):
        return "0 %"
    return describe_amount(candidate - baseline, baseline, sign="+")


def worsening(direction: RuleDirection, gap: float) -> float:
    """How much worse the candidate is if its value is above the baseline's by `gap`."""
    return {"increase": gap, "decrease": -gap, "both": abs(gap)}[direction]
