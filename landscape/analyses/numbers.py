"""Numbers as people read them: rounded to their errors, shares in percent, and what is not determined said so.

Files and JSON hold all digits.
"""

from __future__ import annotations

import math
from typing import Any

from landscape.fields import ERROR_SUFFIX

DIGITS = 4  # significant digits of a number without an error
ERROR_DIGITS = 2  # significant digits of an error, to whose last place its number is rounded (GUM 2008, 7.2.6)
MAX_DIGITS = 8  # significant digits of a number whose error is smaller: more cannot be compared by eye
PLAIN = (1e-4, 1e6)  # absolute values that are written without an exponent
UNDETERMINED = "not determined"
SHORT = "n.d."  # the same in the narrow columns of a table, whose caption explains it


def number(value: Any, *, percent: bool = False) -> str:
    """A number without an error: four significant digits, yes or no for booleans, words as they are."""
    value = value.item() if hasattr(value, "item") else value  # of NumPy, which descriptions of results do not import
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not isinstance(value, float):
        return f"{value:,}"
    return f"{100 * value:.4g} %" if percent and math.isfinite(value) else f"{value:.{DIGITS}g}"


def with_error(
    value: Any, error: Any, *, bound: bool = False, percent: bool = False, undetermined: str = UNDETERMINED
) -> str:
    """A number with its error behind it, both rounded to the error's two digits: `19.45 +- 0.32`.

    Where a standard error is at least as large as its number, that is `undetermined`; so is one with an infinite error.
    A `bound` of the error of a number around zero determines it. An error of zero or one that is unknown leaves the
    number alone.
    """
    if error == math.inf:
        return f"{number(value, percent=percent)} ± inf ({undetermined})"
    if error is None or not math.isfinite(error) or not math.isfinite(value) or error <= 0:
        return number(value, percent=percent)
    written = _to_one_place(100 * value, 100 * error) + " %" if percent else _to_one_place(value, error)
    return written if bound or error < abs(value) else f"{written} ({undetermined})"


def is_standard_error(name: str) -> bool:
    """Whether a field holds standard errors: other errors are bounds, within which a number of zero is determined."""
    return name.endswith((ERROR_SUFFIX, "standard_error", "standard_errors"))


def _to_one_place(value: float, error: float) -> str:
    """The number and its error to the same place."""
    error = float(f"{error:.{ERROR_DIGITS - 1}e}")
    largest = max(abs(value), error)
    if not PLAIN[0] <= largest < PLAIN[1]:
        exponent = math.floor(math.log10(largest))
        scale = 10.0**exponent
        return f"({_to_one_place(value / scale, error / scale)})e{exponent:+03d}"
    place = ERROR_DIGITS - 1 - math.floor(math.log10(error))
    place = min(place, MAX_DIGITS - 1 - math.floor(math.log10(largest)))
    if place >= 0:
        small = f"{error:.{place}f}" if error >= 10.0**-place and error >= PLAIN[0] else f"{error:.{ERROR_DIGITS}g}"
        return f"{value:.{place}f} ± {small}"
    return f"{round(value, place):.0f} ± {round(error, place):.0f}"
