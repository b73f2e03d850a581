"""The error that `--data-error` asks for: the text of the option, what it fits, and the sentences of results."""

from __future__ import annotations

import math
import re
from typing import Any

from landscape.errors import UsageError

SHARE = re.compile(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(%?)\s*", re.IGNORECASE)
MORE_DATA = "more data, or a larger --data-error"
SLACK = 1.05  # the final error over the target, at most: the samples are chosen with values of a rougher tolerance


def parse_share(
    value: Any,
    flag: str = "--data-error",
    why: str = "it is the error by the choice of samples, relative to the number that is measured",
) -> float:
    """The share that a text such as `5%` or `0.05` names; raises UsageError unless it lies between 0 and 1.

    >>> parse_share("5%"), parse_share("0.05")
    (0.05, 0.05)
    """
    match = SHARE.fullmatch(str(value))
    try:
        share = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    except ValueError:  # several points
        share = math.nan
    if not 0 < share < 1:
        raise UsageError(
            f"{flag} is {value}",
            why=why,
            fix=f"a share between 0 and 1, e.g. {flag} 5% or {flag} 0.05",
        )
    return share


def relative_error(standard_error: float, bias: float, value: float) -> float:
    """The root of the squares of both errors by the data, relative to the value; NaN where one is not known."""
    return math.hypot(standard_error, bias) / abs(value) if value else math.nan


def misses_target(error: float | None, target: float | None) -> bool:
    """Whether an error by the data that was asked for is not reached; also where it is not known."""
    return target is not None and (error is None or not error <= SLACK * target)


def describe_samples(error: float | None, target: float | None, samples: int, available: int | None) -> str:
    """What the data leave uncertain, with how many of the samples."""
    known = "not known" if error is None or math.isnan(error) else f"{100 * error:.2g} %"
    of_all = f"all {samples} samples" if available == samples else f"{samples} of {available} samples"
    return f"error by the data {known} with {of_all}, {100 * (target or math.nan):g} % was asked for"
