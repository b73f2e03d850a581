"""Surfaces as filled contours on a logarithmic scale, lines with loss and accuracy, and solids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from landscape.analyses.surfaces.result import SurfaceResult

SHADES = 60  # filled levels: enough to look continuous
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9)  # of the losses, at which lines are drawn
DECADES = 6  # of the loss above its minimum that colours tell apart; higher values are clipped, which is said
NARROW = 3  # times the lowest loss: below that a logarithmic scale has no ticks
FLAT = 1e-10  # relative: losses that differ by less are drawn as one shade
MOST_PLANES = 9  # drawn of several
LETTERS = "ABC"
ABOVE, ENTRY = 9.0, 13.0  # points between a panel and its title: always, and for each row of the legend
LONGEST = 56  # letters of a name in a title or legend
PATH = "#E69F00"  # of a trajectory: Okabe and Ito's orange, seen on every shade of viridis


def panels(result: SurfaceResult) -> int:
    if result.beta is None:
        return 1
    if result.seed is not None:
        return min(len(result.loss), MOST_PLANES)
    return 1 + (result.accuracy is not None) + (result.metric is not None)


def draw(result: SurfaceResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """A line; or the loss and accuracy over a plane; or the losses of several planes on one scale."""
    if result.beta is None:
        draw_line(result, axes[0])
        return
    planes = _planes(result, result.loss)[:MOST_PLANES]
    norm = loss_scale(planes)
    for number, (axis, losses) in enumerate(zip(axes, planes, strict=False)):
        above = draw_contours(result, axis, losses, norm)
        if len(planes) > 1:
            axis.set_title(f"plane {number} (of {len(result.loss)})", fontsize=10, pad=above)
    measured = {"accuracy": result.accuracy, "metric": result.metric} if len(planes) == 1 else {}
    shown = [(name, values) for name, values in measured.items() if values is not None]
    for axis, (name, values) in zip(axes[1:], shown, strict=False):
        draw_heat(result, axis, values, name)
    _colour_bar(axes[: len(planes)], norm, planes, _height(result))


def draw_together(results: Sequence[SurfaceResult], names: Sequence[str], axes: Sequence[Axes]) -> None:
    """The first planes, or the lines, of several results on one scale."""
    if results[0].beta is None:
        draw_lines(results, names, axes[0])
        return
    planes = [_planes(result, result.loss)[0] for result in results]
    norm = loss_scale(planes)
    for result, name, axis, losses in zip(results, names, axes, planes, strict=True):
        above = draw_contours(result, axis, losses, norm)
        first = f", plane 0 of {len(result.loss)}" if result.seed is not None else ""
        axis.set_title(shorten(name) + first, fontsize=9, pad=above)
    _colour_bar(axes, norm, planes, _height(results[0]))


def loss_scale(planes: Sequence[np.ndarray]) -> Normalize:
    """One scale for all: logarithmic if every loss is above 0, and clipped after so many decades."""
    from matplotlib.colors import LogNorm, Normalize

    finite = np.concatenate([plane[np.isfinite(plane)].ravel() for plane in planes])
    if not len(finite):
        return Normalize(0, 1)
    low, high = float(finite.min()), float(finite.max())
    if high - low <= FLAT * max(abs(low), abs(high)):
        return Normalize(low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2)
    if low <= 0 or high < NARROW * low:
        return Normalize(low, high)
    return LogNorm(low, min(high, low * 10.0**DECADES))


def draw_contours(result: SurfaceResult, axes: Axes, losses: np.ndarray, norm: Normalize) -> float:
    """Filled contours with labelled lines at quantiles, the lowest point, and what lies on the plane.

    Returns how much room, in points, a title must leave for the legend.
    """
    from matplotlib.colors import LogNorm

    assert result.beta is not None
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    spaced = np.geomspace if isinstance(norm, LogNorm) else np.linspace
    shown = np.ma.masked_invalid(losses).clip(low, high)
    levels = spaced(low, high, SHADES)
    levels[0], levels[-1] = low, high
    axes.contourf(result.alpha, result.beta, shown, levels=levels, norm=norm, cmap="viridis")
    finite = losses[np.isfinite(losses)]
    chosen = np.unique(np.quantile(finite, QUANTILES)) if len(finite) else np.zeros(0)
    chosen = chosen[(chosen > low) & (chosen < high)]
    if len(chosen):
        drawn = axes.contour(
            result.alpha, result.beta, np.ma.masked_invalid(losses), levels=chosen, colors="white", linewidths=0.8
        )
        digits = next((n for n in range(2, 8) if len({f"{level:.{n}g}" for level in chosen}) == len(chosen)), 8)
        axes.clabel(drawn, fmt=lambda level: f"{level:.{digits}g}", fontsize=7)
    _hatch(result, axes, losses)
    if len(finite):
        row, column = np.unravel_index(int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan))), losses.shape)
        lowest = f"lowest, {losses[row, column]:.3g}"
        axes.plot(result.alpha[column], result.beta[row], "x", color="white", markersize=7, label=lowest, clip_on=False)
    axes.plot(0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8, label=f"checkpoint, {result.centre_loss:.3g}")
    _marks(result, axes, named=True)
    _frame(result, axes)
    return _legend(axes)


def draw_heat(result: SurfaceResult, axes: Axes, values: np.ndarray, name: str) -> None:
    """The accuracy, or the user's metric, on its own scale."""
    assert result.beta is not None
    image = axes.pcolormesh(result.alpha, result.beta, values, cmap="cividis", shading="nearest")
    axes.plot(0, 0, "+", color=ORANGE, markersize=9, markeredgewidth=1.8)
    _marks(result, axes, named=False)
    _frame(result, axes)
    axes.figure.colorbar(image, ax=axes, label=name, shrink=_height(result))


def draw_line(result: SurfaceResult, axes: Axes) -> None:
    """Loss on the left axis, accuracy on the right one; several lines are thin, with their mean."""
    from matplotlib.ticker import MaxNLocator

    losses = result.loss if result.seed is not None else result.loss[None]
    for number, one in enumerate(losses if len(losses) > 1 else ()):
        axes.plot(result.alpha, one, color=BLUE, alpha=0.35, linewidth=0.9, label=None if number else "each line")
    axes.plot(
        result.alpha, losses.mean(axis=0), color=BLUE, linewidth=1.8, label="loss" if len(losses) == 1 else "mean loss"
    )
    if result.unaligned_loss is not None and not np.array_equal(result.unaligned_loss, result.loss):
        axes.plot(result.alpha, result.unaligned_loss, ":", color=BLUE, linewidth=1.5, label="loss without alignment")
    if result.mark is not None and result.place_alpha is not None and result.own_loss is not None:
        axes.plot(result.place_alpha, result.own_loss, "o", color=ORANGE, markersize=5, label="checkpoints, own loss")
    else:
        axes.plot(0, result.centre_loss, "+", color=ORANGE, markersize=9, markeredgewidth=1.8, label="checkpoint")
    _logarithmic(axes, losses)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    ends = (
        f" (0: measured, 1: {shorten(str(result.mark[1]).rpartition('/')[2])})"
        if result.barrier is not None and result.mark is not None
        else ""
    )
    axes.set_xlabel(_axis(result, "alpha") + ends)
    axes.set_ylabel("loss" if result.barrier is None else f"loss (barrier {result.barrier:.3g})")
    if result.accuracy is not None:
        right = axes.twinx()
        shares = result.accuracy if result.seed is not None else result.accuracy[None]
        right.plot(result.alpha, shares.mean(axis=0), "--", color=GREEN, linewidth=1.2)
        right.set_ylabel("accuracy (dashed)", color=GREEN)
        right.set_ylim(-0.02, 1.02)
    axes.legend(fontsize=8, edgecolor="none", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def draw_lines(results: Sequence[SurfaceResult], names: Sequence[str], axes: Axes) -> None:
    """The losses along the lines of several results, means where one has several; what all names share is the title."""
    from matplotlib import colormaps

    parts = [name.partition(", ") for name in names]
    common = parts[0][2] if len({part[2] for part in parts}) == 1 else ""
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(results)))
    means = [np.atleast_2d(result.loss).mean(axis=0) for result in results]
    for result, name, part, shade, mean in zip(results, names, parts, shades, means, strict=True):
        several = f", mean of {len(result.loss)}" if result.seed is not None else ""
        label = shorten(part[0] if common else name) + several
        axes.plot(result.alpha, mean, color=shade, linewidth=1.6, label=label)
    _logarithmic(axes, np.concatenate(means))
    axes.set(xlabel="alpha", ylabel="loss")
    if common:
        axes.figure.suptitle(shorten(common), fontsize=10)
    axes.legend(
        fontsize=7, edgecolor="none", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1 + (len(results) > 4)
    )


def draw_solid(result: SurfaceResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """The first plane as a solid; its height is the logarithm of the loss where the colours of contours are."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    assert result.beta is not None
    losses = _planes(result, result.loss)[0]
    norm = loss_scale([losses])
    flat = axes[0]
    spec, figure = flat.get_subplotspec(), flat.figure
    flat.remove()
    space: Any = figure.add_subplot(spec, projection="3d")
    finite = np.where(np.isfinite(losses), losses, np.nan)
    logarithmic = isinstance(norm, LogNorm)
    heights = np.log10(finite) if logarithmic else finite
    alpha, beta = np.meshgrid(result.alpha, result.beta)
    space.plot_surface(alpha, beta, heights, cmap="viridis", rcount=80, ccount=80, linewidth=0, antialiased=True)
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    space.tick_params(labelsize=7, pad=0)
    space.set_xlabel("alpha", fontsize=9, labelpad=2)
    space.set_ylabel("beta", fontsize=9, labelpad=2)
    space.set_zlabel("log10 loss" if logarithmic else "loss", fontsize=9, labelpad=4)
    space.view_init(elev=35, azim=-60)
    space.set_box_aspect(None, zoom=0.78)
    several = f"plane 0 of {len(result.loss)}, " if result.seed is not None else ""
    space.set_title(f"{several}loss from {np.nanmin(finite):.3g} to {np.nanmax(finite):.3g}", fontsize=10)


def _planes(result: SurfaceResult, values: np.ndarray) -> list[np.ndarray]:
    return list(values) if result.seed is not None else [values]


def _hatch(result: SurfaceResult, axes: Axes, losses: np.ndarray) -> None:
    """What is not finite, hatched."""
    from matplotlib.patches import Rectangle

    broken = ~np.isfinite(losses)
    if not broken.any():
        return
    axes.contourf(result.alpha, result.beta, broken.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])
    axes.add_patch(Rectangle((0, 0), 0, 0, fill=False, hatch="////", label="NaN or infinite"))


def _marks(result: SurfaceResult, axes: Axes, *, named: bool) -> None:
    """The other checkpoints on the plane: a path along a trajectory, or points with letters."""
    if result.mark is None or result.place_alpha is None or result.place_beta is None:
        return
    if result.explained_alpha is not None:
        x, y = result.place_alpha, result.place_beta
        axes.plot(x, y, "o-", color="black", markersize=4.5, linewidth=2.4)
        label = "trajectory, projected" if named else None
        axes.plot(x, y, "o-", color=PATH, markersize=3.5, linewidth=1.2, label=label)
        axes.annotate("first", (x[0], y[0]), fontsize=8, xytext=(4, 5), textcoords="offset points")
        return
    others = list(zip(LETTERS, result.mark, result.place_alpha, result.place_beta, strict=False))[1:]
    for letter, name, x, y in others:  # the first is the measured one, at 0
        short = shorten(str(name).rpartition("/")[2])
        label = f"{letter}: {short}" if named else None
        axes.plot(x, y, "o", color=PATH, markersize=4.5, markeredgecolor="black", label=label)
        axes.annotate(letter, (x, y), fontsize=9, color="white", xytext=(4, 4), textcoords="offset points")


def _legend(axes: Axes) -> float:
    """Above the panel, on a shade on which white is seen too; returns its height in points."""
    entries = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, facecolor="#31688E", labelcolor="white",
        edgecolor="none", framealpha=1,
    )  # fmt: skip
    return ABOVE + ENTRY * -(-entries // 2)


def _height(result: SurfaceResult) -> float:
    """The height of a plane's axes, whose scales are equal, relative to that of its panel."""
    assert result.beta is not None
    tall = float(np.ptp(result.beta) / np.ptp(result.alpha))
    return min(0.95, max(0.3, 1.25 * tall))


def _frame(result: SurfaceResult, axes: Axes) -> None:
    assert result.beta is not None
    axes.set_aspect("equal")
    axes.set_xlim(result.alpha[0], result.alpha[-1])
    axes.set_ylim(result.beta[0], result.beta[-1])
    axes.set_xlabel(_axis(result, "alpha"))
    axes.set_ylabel(_axis(result, "beta"))


def _axis(result: SurfaceResult, name: str) -> str:
    explained = getattr(result, f"explained_{name}")
    return name if explained is None else f"{name} ({100 * explained:.3g} % of the variance)"


def _colour_bar(axes: Sequence[Axes], norm: Normalize, planes: Sequence[np.ndarray], height: float) -> None:
    from matplotlib.cm import ScalarMappable

    highest = max((float(plane[np.isfinite(plane)].max()) for plane in planes if np.isfinite(plane).any()), default=0.0)
    clipped = f", clipped at {norm.vmax:.3g}" if norm.vmax is not None and highest > norm.vmax else ""
    bar = ScalarMappable(norm, "viridis")
    axes[0].figure.colorbar(bar, ax=list(axes), label=f"loss{clipped}", shrink=height)


def _logarithmic(axes: Axes, losses: np.ndarray) -> None:
    finite = losses[np.isfinite(losses)]
    if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min():
        axes.set_yscale("log")
    elif len(finite) and finite.min() < 0 < finite.max():
        axes.axhline(0, color=GREY, linewidth=0.5)


def shorten(text: str) -> str:
    """Text for a title or legend: its middle left out if it is long, its dollars taken as such."""
    half = LONGEST // 2
    cut = text if len(text) <= LONGEST else f"{text[:half]}...{text[-half:]}"
    return cut.replace("$", r"\$")
