"""Planes of a surface: filled contours of the loss, or a heat map of the accuracy, with the checkpoints on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import UsageError
from landscape.figures.style import COLOR_MAP, ORANGE, SIGNED_MAP, YELLOW
from landscape.figures.surface_scale import axis_label
from landscape.figures.texts import draw_legend, font_size, set_heading, set_label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from landscape.analyses.surfaces.result import SurfaceResult
    from landscape.figures.look import Look

LEVEL_COUNT = 60  # filled levels: enough to look continuous
LINE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9)  # of the losses, at which contour lines are drawn
MARK_LETTERS = "ABC"  # of the checkpoints on a plane
BESIDE_BAR = 0.7  # of the panel's width, that a color bar leaves: it is taller than the plane
LIGHT = 0.55  # luminance from which a color needs dark lines on it


def draw_contours(
    result: SurfaceResult, axes: Axes, losses: np.ndarray, norm: Normalize, *, look: Look, heading: str = ""
) -> None:
    """Draws filled contours of a plane's losses with labeled lines, the lowest point and the checkpoints.

    Raises UsageError if none of the levels of the look lies among the losses.
    """
    from matplotlib.colors import LogNorm

    assert result.beta is not None
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    spaced = np.geomspace if isinstance(norm, LogNorm) else np.linspace
    shown = np.ma.masked_invalid(losses).clip(low, high)
    levels = spaced(low, high, LEVEL_COUNT)
    levels[0], levels[-1] = low, high
    axes.contourf(result.alpha, result.beta, shown, levels=levels, norm=norm, cmap=COLOR_MAP)
    _draw_lines(result, axes, losses, norm, look)
    _hatch_nonfinite(result, axes, losses)
    if np.isfinite(losses).any():
        row, column = np.unravel_index(int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan))), losses.shape)
        lowest = f"lowest, {losses[row, column]:.3g}"
        axes.plot(
            result.alpha[column], result.beta[row], "x", color="white", markersize=7, markeredgewidth=1.5,
            label=lowest, clip_on=False, path_effects=_outline(),
        )  # fmt: skip
    own = f"{MARK_LETTERS[0]}: {_short(result.mark[0])}" if _has_letters(result) else "checkpoint"  # type: ignore[index]
    axes.plot(
        0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8, label=f"{own}, {result.centre_loss:.3g}",
        path_effects=_outline("white"),
    )  # fmt: skip
    _draw_marks(result, axes, named=True)
    _set_frame(result, axes)
    set_heading(axes, heading)
    draw_legend(axes, 2, BESIDE_BAR)


def _outline(color: str = "black") -> list[Any]:
    """What draws a mark with an outline, so that it is seen on light colors and on dark ones."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground=color)]


def contour_levels(losses: np.ndarray, norm: Normalize, look: Look) -> np.ndarray:
    """The losses at which contour lines are drawn: those of the look, or quantiles of the finite losses.

    Raises UsageError if none of the losses that the look names lies within the colors.
    """
    from matplotlib.colors import LogNorm

    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    finite = losses[np.isfinite(losses)]
    if look.line_count is not None:
        spaced = np.geomspace if isinstance(norm, LogNorm) else np.linspace
        found: np.ndarray = spaced(low, high, look.line_count + 2)[1:-1]
        return found
    wanted = look.levels or (np.quantile(finite, LINE_QUANTILES) if len(finite) else ())
    levels = np.unique(np.asarray(wanted, float))
    inside: np.ndarray = levels[(levels > low) & (levels < high)]
    if look.levels and not len(inside):
        raise UsageError(
            f"--levels: none of {', '.join(f'{level:g}' for level in look.levels)} is among the losses drawn",
            fix=f"between {low:.3g} and {high:.3g}, or one whole number: how many lines",
        )
    return inside


def _draw_lines(result: SurfaceResult, axes: Axes, losses: np.ndarray, norm: Normalize, look: Look) -> None:
    """Draws labeled contour lines: light ones on dark colors, dark ones on light colors."""
    levels = contour_levels(losses, norm, look)
    if not len(levels) or not np.isfinite(losses).any():
        return
    assert result.beta is not None
    lines = axes.contour(
        result.alpha, result.beta, np.ma.masked_invalid(losses), levels=levels, linewidths=0.8,
        colors=[line_color(float(norm(level))) for level in levels],
    )  # fmt: skip
    digits = next((n for n in range(2, 8) if len({f"{level:.{n}g}" for level in levels}) == len(levels)), 8)
    axes.clabel(lines, fmt=lambda level: f"{level:.{digits}g}", fontsize=font_size("x-small"))


def line_color(place: float) -> str:
    """The color of a line on the color map at a place from 0 to 1."""
    from matplotlib import colormaps

    red, green, blue, _ = colormaps[COLOR_MAP](place)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > LIGHT else "white"


def draw_heat(result: SurfaceResult, axes: Axes, values: np.ndarray, name: str) -> None:
    """Draws the accuracy, or the user's metric, on its own scale."""
    assert result.beta is not None
    low, high = heat_range(values, name)
    image = axes.pcolormesh(result.alpha, result.beta, values, cmap=SIGNED_MAP, shading="nearest", vmin=low, vmax=high)
    axes.plot(0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8)
    _draw_marks(result, axes, named=False)
    _set_frame(result, axes)
    axes.figure.colorbar(image, ax=axes, label=name, shrink=color_bar_shrink(result))


def heat_range(values: np.ndarray, name: str) -> tuple[float | None, float | None]:
    """The ends of the colors; (None, None), for the values' own, unless all values are alike.

    These are in the middle of the colors, or, of an accuracy, between 0 and 1.
    """
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < finite.max():
        return None, None
    if name == "accuracy":
        return 0.0, 1.0
    value = float(finite[0])
    return value - (abs(value) or 1) / 2, value + (abs(value) or 1) / 2


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
        first = "its first checkpoint" if named else None
        axes.plot(x[0], y[0], "s", color=YELLOW, markersize=5.5, markeredgecolor="black", label=first)
        return
    every = zip(MARK_LETTERS, result.mark, result.place_alpha, result.place_beta, strict=False)
    for number, (letter, name, x, y) in enumerate(every):
        if number:  # the first is the measured one, at 0, which has its own sign
            label = f"{letter}: {_short(name)}" if named else None
            axes.plot(x, y, "o", color=YELLOW, markersize=4.5, markeredgecolor="black", label=label)
        axes.annotate(
            letter, (x, y), fontsize="medium", color="white", xytext=(4, 4), textcoords="offset points",
            path_effects=_outline(),
        )  # fmt: skip


def _has_letters(result: SurfaceResult) -> bool:
    """Whether the checkpoints of a plane are points with letters: others than a trajectory."""
    return result.mark is not None and result.place_beta is not None and result.explained_alpha is None


def _short(mark: object) -> str:
    """The name of a checkpoint's file, as a legend has room for it."""
    return shorten(str(mark).rpartition("/")[2])


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
    set_label(axes, "x", axis_label(result, "alpha"))
    set_label(axes, "y", axis_label(result, "beta"))
