"""What sentences about the meaning of a result are made of: the options that it was measured with, and shares."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.analyses.base import Result

HESSIANS = ("hessian", "pyhessian")  # operators that are the Hessian itself


def stored_options(result: Result) -> dict[str, Any]:
    """The options by name; none of a result that no session has measured."""
    options: dict[str, Any] = json.loads(str(result.attributes.get("options", "{}")))
    return options


def is_of_hessian(result: Result) -> bool:
    """Whether the result is known to be of the Hessian, and not of another matrix."""
    return stored_options(result).get("operator") in HESSIANS


def describe_share(part: float, whole: float) -> str:
    """A part of the loss in percent of it, in brackets: ` (2.3 % of it)`; "" if the whole is not above 0."""
    return f" ({percent(part / whole)} of it)" if math.isfinite(whole) and whole > 0 else ""


def percent(share: float) -> str:
    """A share in percent with two digits, as many as it needs above 100: `0.46 %`, `320 %`."""
    return f"{100 * share:.2g} %" if 100 * share < 99.5 else f"{100 * share:,.0f} %"


def round_down(value: float, digits: int = 2) -> float:
    """A positive number rounded down to so many significant digits, so that what is said of smaller ones is true."""
    scale = 10.0 ** (digits - 1 - math.floor(math.log10(value)))
    return math.floor(value * scale) / scale
