"""What the figures of sharpness and flatness share: curves over radii, and the rise that each ascent reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import GREEN, series_style, shades
from landscape.figures.texts import draw_legend, set_label, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TICKS = 6  # that can be told apart below one panel
LAW_REACH = 3.0  # a law is drawn from 1/3 of a single radius to 3 times it
LAW_POINTS = 60  # of the line of a law
NEAR_LARGEST = 0.99  # of the largest rise: ascents that reach it lie in the shaded strip
SPREAD = 0.22  # of the distance between two starts: how far the points of different radii lie apart


def law_radii(radii: np.ndarray) -> np.ndarray:
    """Radii along which a law is drawn: from the smallest to the largest measured one, or around a single one."""
    low, high = float(radii.min()), float(radii.max())
    low, high = (low / LAW_REACH, high * LAW_REACH) if low == high else (low, high)
    return np.geomspace(low, high, LAW_POINTS)


def set_log_axes(axes: Axes, radii: np.ndarray, values: np.ndarray) -> None:
    """Sets both axes logarithmic, the vertical one only if all finite values are positive.

    If there are few radii, each has a tick.
    """
    axes.set_xscale("log")
    radii = np.unique(radii)
    if len(radii) == 1:
        radii = radii * np.array([1 / LAW_REACH, 1, LAW_REACH])
    if len(radii) <= MAX_TICKS:
        axes.set_xticks(radii, [f"{radius:.3g}" for radius in radii])
        axes.set_xticks([], minor=True)
    if (values[np.isfinite(values)] > 0).all():
        axes.set_yscale("log")


def line_style(radii: np.ndarray, mark: str) -> str:
    """matplotlib's format for these points: joined by a line if there are several."""
    return f"{mark}-" if len(radii) > 1 else mark


def draw_ascents(
    axes: Axes, names: np.ndarray, rises: np.ndarray, best: np.ndarray, radii: np.ndarray, what: str
) -> None:
    """Draws the rise that each start reached, `rises` `(R, S)`, relative to the largest, `best` `(R,)`.

    Larger radii are darker; six radii at most are drawn.
    """
    shown = np.unique(np.linspace(0, len(radii) - 1, min(len(radii), MAX_TICKS)).round().astype(int))
    rises, best, radii = np.where(np.isfinite(rises), rises, np.nan)[shown], best[shown, None], radii[shown]
    relative = np.divide(rises, best, out=np.full_like(rises, np.nan), where=(best > 0) & np.isfinite(best))
    colors = shades(len(radii))[::-1]
    offsets = np.linspace(-SPREAD, SPREAD, len(radii)) if len(radii) > 1 else np.zeros(1)
    places = np.arange(len(names))
    for place, (row, radius, color, offset) in enumerate(zip(relative, radii, colors, offsets, strict=True)):
        axes.plot(
            row, places + offset, series_style(place).mark, markersize=4.5, color=color, label=f"rho = {radius:.3g}"
        )
    lowest = float(np.nan_to_num(relative, nan=1.0).min())
    margin = 0.05 * max(1 - lowest, 0.1)
    axes.set_xlim(min(lowest, 0.98) - margin, 1 + margin)
    axes.set_yticks(places, tick_names(axes, list(map(str, names)), "small"), fontsize="small", parse_math=False)
    axes.invert_yaxis()
    axes.axvspan(NEAR_LARGEST, 1.0, color=GREEN, alpha=0.15, linewidth=0)
    set_label(axes, "x", f"{what} / largest (shaded: within 1 %)")
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    draw_legend(axes)
