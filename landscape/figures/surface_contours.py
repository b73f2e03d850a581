"""Planes of a surface: filled contours of the loss, or a heat map of the accuracy, with the checkpoints on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import ORANGE, YELLOW
from landscape.figures.surface_labels import axis_label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from landscape.analyses.surfaces.result import SurfaceResult

LEVEL_COUNT = 60  # filled levels: enough to look continuous
LINE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9)  # of the losses, at which contour lines are drawn
MARK_LETTERS = "ABC"  # of the checkpoints on a plane
TITLE_PAD, LEGEND_ROW = 9.0, 13.0  # points between a panel and its title: always, and for each row of the legend


def draw_contours(result: SurfaceResult, axes: Axes, losses: np.ndarray, norm: Normalize) -> float:
    """Draws filled contours of a plane's losses with lines at quantiles, the lowest point and the checkpoints.

    Returns the height of the legend in points, which a title must leave free.
    """
    from matplotlib.colors import LogNorm

    assert result.beta is not None
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    spaced = np.geomspace if isinstance(norm, LogNorm) else np.linspace
    shown = np.ma.masked_invalid(losses).clip(low, high)
    levels = spaced(low, high, LEVEL_COUNT)
    levels[0], levels[-1] = low, high
    axes.contourf(result.alpha, result.beta, shown, levels=levels, norm=norm, cmap="viridis")
    finite = losses[np.isfinite(losses)]
    _draw_quantile_lines(result, axes, losses, (low, high))
    _hatch_nonfinite(result, axes, losses)
    if len(finite):
        row, column = np.unravel_index(int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan))), losses.shape)
        lowest = f"lowest, {losses[row, column]:.3g}"
        axes.plot(result.alpha[column], result.beta[row], "x", color="white", markersize=7, label=lowest, clip_on=False)
    axes.plot(0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8, label=f"checkpoint, {result.centre_loss:.3g}")
    _draw_marks(result, axes, named=True)
    _set_frame(result, axes)
    return _draw_legend(axes)


def _draw_quantile_lines(result: SurfaceResult, axes: Axes, losses: np.ndarray, limits: tuple[float, float]) -> None:
    """Draws labeled contour lines at quantiles of the finite losses that lie within the limits of the scale."""
    finite = losses[np.isfinite(losses)]
    levels = np.unique(np.quantile(finite, LINE_QUANTILES)) if len(finite) else np.zeros(0)
    levels = levels[(levels > limits[0]) & (levels < limits[1])]
    if not len(levels):
        return
    assert result.beta is not None
    lines = axes.contour(
        result.alpha, result.beta, np.ma.masked_invalid(losses), levels=levels, colors="white", linewidths=0.8
    )
    digits = next((n for n in range(2, 8) if len({f"{level:.{n}g}" for level in levels}) == len(levels)), 8)
    axes.clabel(lines, fmt=lambda level: f"{level:.{digits}g}", fontsize=7)


def draw_heat(result: SurfaceResult, axes: Axes, values: np.ndarray, name: str) -> None:
    """Draws the accuracy, or the user's metric, on its own scale."""
    assert result.beta is not None
    image = axes.pcolormesh(result.alpha, result.beta, values, cmap="cividis", shading="nearest")
    axes.plot(0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8)
    _draw_marks(result, axes, named=False)
    _set_frame(result, axes)
    axes.figure.colorbar(image, ax=axes, label=name, shrink=color_bar_shrink(result))


def _hatch_nonfinite(result: SurfaceResult, axes: Axes, losses: np.ndarray) -> None:
    """Hatches the points whose loss is not finite."""
    from matplotlib.patches import Rectangle

    broken = ~np.isfinite(losses)
    if not broken.any():
        return
    axes.contourf(result.alpha, result.beta, broken.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])
    axes.add_patch(Rectangle((0, 0), 0, 0, fill=False, hatch="////", label="NaN or infinite"))


def _draw_marks(result: SurfaceResult, axes: Axes, *, named: bool) -> None:
    """Draws the other checkpoints: a trajectory as a path, others as points with letters, named in the legend."""
    if result.mark is None or result.place_alpha is None or result.place_beta is None:
        return
    if result.explained_alpha is not None:
        x, y = result.place_alpha, result.place_beta
        axes.plot(x, y, "o-", color="black", markersize=4.5, linewidth=2.4)
        label = "trajectory, projected" if named else None
        axes.plot(x, y, "o-", color=YELLOW, markersize=3.5, linewidth=1.2, label=label)
        axes.annotate("first", (x[0], y[0]), fontsize=8, xytext=(4, 5), textcoords="offset points")
        return
    others = list(zip(MARK_LETTERS, result.mark, result.place_alpha, result.place_beta, strict=False))[1:]
    for letter, name, x, y in others:  # the first is the measured one, at 0
        short = shorten(str(name).rpartition("/")[2])
        label = f"{letter}: {short}" if named else None
        axes.plot(x, y, "o", color=YELLOW, markersize=4.5, markeredgecolor="black", label=label)
        axes.annotate(letter, (x, y), fontsize=9, color="white", xytext=(4, 4), textcoords="offset points")


def _draw_legend(axes: Axes) -> float:
    """Draws the legend above the panel, on a blue that also shows white; returns its height in points."""
    entries = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, facecolor="#31688E", labelcolor="white",
        edgecolor="none", framealpha=1,
    )  # fmt: skip
    return TITLE_PAD + LEGEND_ROW * -(-entries // 2)


def color_bar_shrink(result: SurfaceResult) -> float:
    """The length of the color bar as a share of the panel's height: about that of the plane, whose scales are equal.

    Titles and labels take about a fifth of the panel; a bar is neither too short to read nor longer than the panel.
    """
    assert result.beta is not None
    tall = float(np.ptp(result.beta) / np.ptp(result.alpha))
    return min(0.95, max(0.3, 1.25 * tall))


def _set_frame(result: SurfaceResult, axes: Axes) -> None:
    assert result.beta is not None
    axes.set_aspect("equal")
    axes.set_xlim(result.alpha[0], result.alpha[-1])
    axes.set_ylim(result.beta[0], result.beta[-1])
    axes.set_xlabel(axis_label(result, "alpha"))
    axes.set_ylabel(axis_label(result, "beta"))
