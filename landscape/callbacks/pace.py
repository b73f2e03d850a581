"""The share of a training's time that measurements may take, and whether one more keeps within it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from landscape.errors import UsageError


def share_of(budget: float | str | None) -> float | None:
    """A budget as a share of time: "2%" and 0.02 are the same, and None is no limit.

    Raises UsageError for what is no share between 0 and 1.

    >>> share_of("2%")
    0.02
    """
    if budget is None:
        return None
    try:
        text = str(budget).strip()
        share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"the budget is {budget!r}", fix='a share of the time such as "2%" or 0.02; None for no limit')
    return share


@dataclass
class Pace:
    """The seconds that measurements have taken, beside those since training began.

    A measurement fits if, at the cost of the one before, all of them together take at most `share` of the time until
    its end. The first one fits in any case, since nothing is known of its cost; it counts as the others do.
    """

    share: float | None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    began: float | None = None  # the clock at the beginning of training
    spent: float = 0.0
    cost: float | None = None  # seconds of the last measurement, without what is done once

    def begin(self) -> None:
        """Training begins now, unless it has begun."""
        self.began = self.clock() if self.began is None else self.began

    @property
    def elapsed(self) -> float:
        """Seconds since training began."""
        return 0.0 if self.began is None else self.clock() - self.began

    @property
    def overhead(self) -> float:
        """The share of the time since training began that measurements have taken; 0 before the first."""
        return self.spent / self.elapsed if self.spent else 0.0

    def fits(self) -> bool:
        """Whether a measurement that costs as much as the last one keeps within the share."""
        if self.share is None or self.cost is None:
            return True
        return self.spent + self.cost <= self.share * (self.elapsed + self.cost)

    def add(self, seconds: float, once: float = 0.0) -> None:
        """Counts a measurement of so many seconds, `once` of which were spent on what the next one need not do."""
        self.spent += seconds
        self.cost = seconds - once
