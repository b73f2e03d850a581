"""What `--grid` and `--range` mean."""

from __future__ import annotations

import math
import re
from typing import Any

from landscape.analyses.surfaces.planes import Extent
from landscape.errors import UsageError

FARTHEST = 1e30  # of a coordinate: float32 ends at 3e38
MOST = 2001  # points along an axis: a plane of so many is 4 million passes over the data


def grid_text(grid: Any) -> str:
    """`51` or `51x31` of what a Python caller may give as well: a number, or two."""
    numbers = grid.tolist() if hasattr(grid, "tolist") else grid
    return "x".join(map(str, numbers)) if isinstance(numbers, tuple | list) else str(numbers)


def range_text(given: Any) -> str:
    """`-1:1` of what a Python caller may give as well: a number, two numbers, or a pair of two for each axis."""
    given = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(given, tuple | list):
        return str(given)
    if all(isinstance(part, tuple | list) for part in given):
        return ",".join(range_text(part) for part in given)
    return ":".join(map(str, given))


def parse_levels(given: tuple[Any, ...]) -> tuple[float, ...]:
    """Levels of the loss; raises UsageError for one that is no finite number."""
    try:
        found = tuple(
            float(part) for level in given for part in (level.split(",") if isinstance(level, str) else [level])
        )
    except (TypeError, ValueError):
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise UsageError(f"--level is {', '.join(map(str, given))}", fix="finite numbers: --level 0.5,1")
    return found


def parse_grid(grid: str) -> tuple[int, ...]:
    """Points along alpha, and along beta if they are named; raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", grid.strip())
    numbers = tuple(int(number) for number in match.groups() if number) if match else ()
    if not numbers or not all(2 <= number <= MOST for number in numbers):
        raise UsageError(
            f"--grid is {grid!r}", fix=f"points along each axis, from 2 to {MOST}: 51, or 51x31 (alpha x beta)"
        )
    return numbers


def parse_range(text: str) -> tuple[Extent, ...]:
    """The range of alpha, and that of beta if it is named; raises UsageError unless each holds 0."""
    try:
        found = tuple(_extent(part) for part in text.split(","))
    except ValueError:
        found = ()
    good = all(-FARTHEST <= low <= 0 <= high <= FARTHEST and low < high for low, high in found)
    if not 1 <= len(found) <= 2 or not good:
        raise UsageError(
            f"--range is {text!r}",
            why="the checkpoint itself lies at 0, and on every grid",
            fix="1 (from -1 to 1), -0.5:1.5, or one for each axis: -1:1,-2:2",
        )
    return found


def _extent(part: str) -> Extent:
    low, colon, high = part.partition(":")
    return (float(low), float(high)) if colon else (-float(low), float(low))
