"""How much a number may change, as people type it: `1%`, `0.05 abs`, `1% or 0.05 abs`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from landscape.errors import UsageError, safe_excerpt

TOLERANCE_PATTERN = re.compile(r"(?P<number>[-+\d.eE]+)\s*(?P<unit>%|abs)")
ZERO_BASELINE_TOLERANCE = 1e-6  # absolute: allowed beside a baseline of exactly 0, of which every share is 0


@dataclass(frozen=True)
class Tolerance:
    """A share of the baseline's size, or an absolute amount where that is larger."""

    share: float = 0.0
    absolute: float = 0.0

    @classmethod
    def parse(cls, text: object) -> Tolerance:
        """The tolerance of a text; raises UsageError for any other text.

        >>> str(Tolerance.parse("1% or 0.05 abs"))
        '1% or 0.05 abs'
        """
        parts = (
            [TOLERANCE_PATTERN.fullmatch(part.strip()) for part in text.split(" or ")]
            if isinstance(text, str)
            else [None]
        )
        amounts: dict[str, float] = {}
        for part in parts:
            amount = _number(part["number"]) if part else math.nan
            if part is None or not 0 <= amount < math.inf or part["unit"] in amounts:
                raise UsageError(
                    f"the tolerance {safe_excerpt(text)!r} is not understood",
                    fix='"1%", "0.05 abs" or "1% or 0.05 abs"',
                )
            amounts[part["unit"]] = amount
        return cls(amounts.get("%", 0.0) / 100, amounts.get("abs", 0.0))

    def of(self, baseline: float) -> float:
        """The amount that is allowed beside a baseline of this value, whatever its sign."""
        return max(self.share * abs(baseline), self.absolute) or (0.0 if baseline else ZERO_BASELINE_TOLERANCE)

    def __str__(self) -> str:
        share = f"{round(100 * self.share, 12):.12g}%" if self.share or not self.absolute else ""
        return " or ".join(filter(None, [share, f"{self.absolute!r} abs" if self.absolute else ""]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
