"""Lines of a surface: loss and accuracy of one result, or the losses of several results in one panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import BLUE, GREEN, ORANGE, series_style
from landscape.figures.surface_scale import axis_label, set_log_if_wide
from landscape.figures.texts import draw_legend, set_heading, set_label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult


def draw_line(result: SurfaceResult, axes: Axes) -> None:
    """Draws the loss on the left axis and the accuracy on the right one; several lines are thin, with their mean."""
    from matplotlib.ticker import MaxNLocator

    losses = result.loss if result.seed is not None else result.loss[None]
    for number, values in enumerate(losses if len(losses) > 1 else ()):
        axes.plot(result.alpha, values, color=BLUE, alpha=0.35, linewidth=0.9, label=None if number else "each line")
    axes.plot(
        result.alpha, losses.mean(axis=0), color=BLUE, linewidth=1.8, label="loss" if len(losses) == 1 else "mean loss"
    )
    if result.unaligned_loss is not None and not np.array_equal(result.unaligned_loss, result.loss):
        axes.plot(result.alpha, result.unaligned_loss, ":", color=BLUE, linewidth=1.5, label="loss without alignment")
    if result.mark is not None and result.place_alpha is not None and result.own_loss is not None:
        axes.plot(result.place_alpha, result.own_loss, "o", color=ORANGE, markersize=5, label="checkpoints, own loss")
    else:
        axes.plot(0, result.centre_loss, "+", color=ORANGE, markersize=9, markeredgewidth=1.8, label="checkpoint")
    set_log_if_wide(axes, losses)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    ends = (
        f" (0: measured, 1: {shorten(str(result.mark[1]).rpartition('/')[2])})"
        if result.barrier is not None and result.mark is not None
        else ""
    )
    set_label(axes, "x", axis_label(result, "alpha") + ends)
    axes.set_ylabel("loss" if result.barrier is None else f"loss (barrier {result.barrier:.3g})")
    if result.accuracy is not None:
        right = axes.twinx()
        shares = result.accuracy if result.seed is not None else result.accuracy[None]
        right.plot(result.alpha, shares.mean(axis=0), "--", color=GREEN, linewidth=1.2)
        right.set_ylabel("accuracy (dashed)", color=GREEN)
        right.set_ylim(-0.02, 1.02)
    draw_legend(axes)


def draw_lines(results: Sequence[SurfaceResult], names: Sequence[str], axes: Axes) -> None:
    """Draws the losses of several results, each the mean of its lines; the part that all names share is the title."""
    parts = [name.partition(", ") for name in names]
    common = parts[0][2] if len({part[2] for part in parts}) == 1 else ""
    means = [np.atleast_2d(result.loss).mean(axis=0) for result in results]
    for place, (result, name, part, mean) in enumerate(zip(results, names, parts, means, strict=True)):
        several = f", mean of {len(result.loss)}" if result.seed is not None else ""
        label = shorten(part[0] if common else name) + several
        style = series_style(place)
        axes.plot(result.alpha, mean, color=style.color, linestyle=style.line, linewidth=1.6, label=label)
    set_log_if_wide(axes, np.concatenate(means))
    axes.set(xlabel="alpha", ylabel="loss")
    set_heading(axes, shorten(common) if common else "")
    draw_legend(axes, 2)
