"""A candidate beside its baseline: the gap, what is allowed of it, and what noise may make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.gates.policy import Direction


@dataclass(frozen=True)
class Comparison:
    """A candidate beside its baseline; amounts count in the direction that the rule forbids.

    `gap` is how much worse the candidate is, `allowed` how much it may be, `noise` what noise alone may make of it,
    `error` its standard error and `p_value` the p-value where a test was made; with `of_logarithms`, they are those
    of logarithms. `too_uncertain` says why the candidate is too uncertain to pass; "" if it is not.
    """

    baseline: float
    candidate: float
    gap: float
    allowed: float
    error: float
    noise: float
    p_value: float | None = None
    too_uncertain: str = ""
    of_logarithms: bool = False  # whether gap, allowed, error and noise are of logarithms

    @property
    def worse(self) -> bool:
        """Whether it is beyond the tolerance, and beyond noise."""
        return self.gap > self.allowed and self.gap > self.noise

    @property
    def better(self) -> bool:
        """The same in the other direction."""
        return -self.gap > self.allowed and -self.gap > self.noise

    @property
    def hidden_change(self) -> str:
        """The change that noise may make, in words."""
        return self.describe_amount(math.expm1(self.noise) * abs(self.baseline) if self.of_logarithms else self.noise)

    def describe_amount(self, amount: float, sign: str = "") -> str:
        """An amount in words, as a share of the baseline's size: `3.1 %`; as it is beside a baseline of 0."""
        return f"{100 * amount / abs(self.baseline):{sign}.3g} %" if self.baseline else f"{amount:{sign}.3g}"


def worsening(direction: Direction, gap: float) -> float:
    """How much worse a rise of `gap` is."""
    return {"increase": gap, "decrease": -gap, "both": abs(gap)}[direction]
