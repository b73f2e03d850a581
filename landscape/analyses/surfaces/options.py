"""The options of a surface: the forms that the command line and Python callers may give, parsed and completed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from landscape.choices import BatchNormMode, Normalize
from landscape.errors import UsageError

AxesKind = Literal["random", "eigen", "gradient", "checkpoints", "trajectory"]
Extent = tuple[float, float]  # the lowest and the highest coordinate along an axis

MAX_COORDINATE = 1e30  # float32 ends at 3e38
MAX_POINTS_PER_AXIS = 2001  # a plane of so many along both axes is 4 million passes over the data
DEFAULT_IGNORE = ("bias", "norm", "position")  # by random directions (Li et al. 2018, section 4, for the first two)
DEFAULT_BATCH_NORM: Mapping[str, BatchNormMode] = {"checkpoints": "interpolate", "trajectory": "recompute"}


@dataclass(frozen=True)
class SurfaceSettings:
    """The choices of a surface: the given options in one form, completed by defaults that follow from the axes.

    Raises UsageError for choices that contradict each other.
    """

    grid: str
    range: str | None
    axes: AxesKind
    dim: int | None
    towards: tuple[Any, ...]  # paths or state dicts
    trajectory: str | None
    normalize: Normalize
    ignore: tuple[str, ...]
    batch_norm: BatchNormMode
    level: tuple[float, ...]
    seeds: int
    align: bool

    def __post_init__(self) -> None:
        _ = self.counts, self.ranges  # raise UsageError for texts that they cannot parse
        for contradiction, fix in self._contradictions():
            raise UsageError(contradiction, fix=fix)

    @property
    def counts(self) -> tuple[int, ...]:
        """Points along each axis: one number for all axes, or one for each."""
        return parse_grid(self.grid)

    @property
    def ranges(self) -> tuple[Extent, ...]:
        """The range of the coordinates: one for all axes, or one for each; empty if none is given."""
        return () if self.range is None else parse_range(self.range)

    @property
    def dimension(self) -> int:
        """1 for lines, 2 for planes."""
        if self.axes == "checkpoints":
            return max(len(self.towards), 1)
        named = max(len(self.counts), len(self.ranges), 1)
        return self.dim or max(named, 1 if self.axes == "gradient" else 2)

    def _contradictions(self) -> list[tuple[str, str]]:
        """Each contradiction between the choices, with its fix."""
        axes, leave_out = self.axes, f"leave it out, of settings too, or choose other --axes than {self.axes}"
        moved = self.normalize != "none" or self.ignore != ("none",)
        line = "--grid 51, one --range, or --dim 2"
        rules = [
            (bool(self.towards) and axes != "checkpoints", "--towards leads between checkpoints", leave_out),
            (bool(self.trajectory) and axes != "trajectory", "--trajectory has axes of its own", leave_out),
            (
                self.dim == 1 and 2 in (len(self.counts), len(self.ranges)),
                "--dim 1 has one axis, and --grid or --range name two",
                line,
            ),
            (
                axes == "checkpoints" and bool(self.dim),
                "between checkpoints the number of others decides the dimension: leave out --dim",
                leave_out,
            ),
            (
                axes in ("checkpoints", "trajectory") and moved,
                "checkpoints are where they are: --normalize or --ignore would move them",
                leave_out,
            ),
            (self.seeds > 1 and axes != "random", "--seeds draws random directions", leave_out),
            (
                self.align and axes != "checkpoints",
                "--align brings other checkpoints nearer",
                "--axes checkpoints, or --towards B",
            ),
            (
                self.batch_norm == "interpolate" and axes != "checkpoints",
                "--batch-norm interpolate needs checkpoints to lie between",
                leave_out,
            ),
            (len(self.towards) > 2, "--towards names one checkpoint, or two", leave_out),
        ]
        return [(contradiction, fix) for holds, contradiction, fix in rules if holds]


def settings_for(given: Mapping[str, Any]) -> SurfaceSettings:
    """The settings that follow from the given options, of which some may be None."""
    towards = tuple(str(one) if isinstance(one, Path) else one for one in as_tuple(given["towards"]))
    implied: AxesKind = "checkpoints" if towards else "trajectory" if given["trajectory"] else "random"
    axes = given["axes"] or implied
    is_random = axes == "random"
    ignored = tuple(word for part in as_tuple(given["ignore"]) for word in part.split(",") if word)
    return SurfaceSettings(
        grid=grid_text(given["grid"]),
        range=None if given["range"] is None else range_text(given["range"]),
        axes=axes,
        dim=given["dim"],
        towards=towards,
        trajectory=None if given["trajectory"] is None else str(given["trajectory"]),
        normalize=given["normalize"] or ("filter" if is_random else "none"),
        ignore=ignored or (DEFAULT_IGNORE if is_random else ("none",)),
        batch_norm=given["batch_norm"] or DEFAULT_BATCH_NORM.get(axes, "fixed"),
        level=parse_levels(as_tuple(given["level"])),
        seeds=given["seeds"],
        align=given["align"],
    )


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One value, several, or None, as a tuple; a module stands for its state dict."""
    if value is None:
        return ()
    if callable(getattr(value, "state_dict", None)):
        return (value.state_dict(),)
    if getattr(value, "ndim", None) == 0:
        return (value.item(),)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else (value,)


def grid_text(grid: Any) -> str:
    """`51` or `51x31`, from this text, from a number, or from two numbers."""
    numbers = grid.tolist() if hasattr(grid, "tolist") else grid
    return "x".join(map(str, numbers)) if isinstance(numbers, tuple | list) else str(numbers)


def range_text(limits: Any) -> str:
    """`-1:1`, from this text, from a number, from two numbers, or from two numbers for each axis."""
    limits = limits.tolist() if hasattr(limits, "tolist") else limits
    if not isinstance(limits, tuple | list):
        return str(limits)
    if all(isinstance(part, tuple | list) for part in limits):
        return ",".join(range_text(part) for part in limits)
    return ":".join(map(str, limits))


def parse_levels(levels: tuple[Any, ...]) -> tuple[float, ...]:
    """Levels of the loss, from numbers or texts such as `0.5,1`; raises UsageError unless all are finite numbers."""
    try:
        numbers = tuple(
            float(part) for level in levels for part in (level.split(",") if isinstance(level, str) else [level])
        )
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise UsageError(f"--level is {', '.join(map(str, levels))}", fix="finite numbers: --level 0.5,1")
    return numbers


def parse_grid(grid: str) -> tuple[int, ...]:
    """Points along alpha, and along beta if the text names two numbers; raises UsageError for any other text."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", grid.strip())
    numbers = tuple(int(number) for number in match.groups() if number) if match else ()
    if not numbers or not all(2 <= number <= MAX_POINTS_PER_AXIS for number in numbers):
        raise UsageError(
            f"--grid is {grid!r}",
            fix=f"points along each axis, from 2 to {MAX_POINTS_PER_AXIS}: 51, or 51x31 (alpha x beta)",
        )
    return numbers


def parse_range(text: str) -> tuple[Extent, ...]:
    """The extent of alpha, and of beta if the text names two; raises UsageError unless each contains 0."""
    try:
        extents = tuple(_parse_extent(part) for part in text.split(","))
    except ValueError:
        extents = ()
    good = all(-MAX_COORDINATE <= low <= 0 <= high <= MAX_COORDINATE and low < high for low, high in extents)
    if not 1 <= len(extents) <= 2 or not good:
        raise UsageError(
            f"--range is {text!r}",
            why="the checkpoint itself lies at 0, and on every grid",
            fix="1 (from -1 to 1), -0.5:1.5, or one for each axis: -1:1,-2:2",
        )
    return extents


def _parse_extent(part: str) -> Extent:
    low, colon, high = part.partition(":")
    return (float(low), float(high)) if colon else (-float(low), float(low))
