"""The budget of a first look: sizes of a measurement that nobody has given are what so many counted seconds buy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from landscape.fields import option

BUDGET_SECONDS = 30.0  # of a first look: as long as people wait without leaving
UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))
T = TypeVar("T")


def budget_option(sizes: str) -> Any:
    """The option `--budget` of an analysis whose sizes it decides; `sizes` names their flags."""
    return option(
        BUDGET_SECONDS,
        help=f"Counted seconds of one common core that decide {sizes} where no size is given.",
        min=1e-3,
        identity=False,  # the sizes that it decides are part of the identity
    )


def best_within(candidates: Sequence[T], seconds: Callable[[T], float], budget: float) -> T:
    """The first of the candidates, which descend in cost, that takes at most `budget` seconds; else the last."""
    return next((candidate for candidate in candidates if seconds(candidate) <= budget), candidates[-1])


def describe_price(seconds: float, budget: float, samples: int, *, smallest: bool) -> str:
    """The counted seconds of sizes in words; of the smallest first look also how many samples would fit the budget."""
    price = f"{seconds:.2g} counted seconds"
    if not smallest or seconds <= budget:
        return price
    return f"{price}, the fewest: --limit {max(1, int(samples * budget / seconds))} fits --budget {budget:g}"


def describe_seconds(seconds: float) -> str:
    """A time to two digits in the largest unit of which there is one: `about 2 min`."""
    for size, name in UNITS:
        if seconds >= size:
            return f"about {seconds / size:.2g} {name}"
    return f"about {seconds:.2g} s"
