"""The figure of a surface: filled contours of planes, or lines with loss and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.figures.surface_contours import color_bar_shrink, draw_contours, draw_heat
from landscape.figures.surface_labels import shorten
from landscape.figures.surface_lines import draw_line, draw_lines
from landscape.figures.surface_scale import draw_color_bar, loss_planes, loss_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult

MAX_PLANES = 9  # drawn of several


def panels(result: SurfaceResult) -> int:
    """One for all lines, one for each of several planes, or one for each column of a single plane."""
    if result.beta is None:
        return 1
    if result.seed is not None:
        return min(len(result.loss), MAX_PLANES)
    return 1 + (result.accuracy is not None) + (result.metric is not None)


def draw(result: SurfaceResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the lines, or all columns of a single plane, or the losses of several planes on one scale."""
    if result.beta is None:
        draw_line(result, axes[0])
        return
    planes = loss_planes(result)[:MAX_PLANES]
    norm = loss_scale(planes)
    for number, (axis, losses) in enumerate(zip(axes, planes, strict=False)):
        above = draw_contours(result, axis, losses, norm)
        if len(planes) > 1:
            axis.set_title(f"plane {number} (of {len(result.loss)})", fontsize=10, pad=above)
    measured = {"accuracy": result.accuracy, "metric": result.metric} if len(planes) == 1 else {}
    shown = [(name, values) for name, values in measured.items() if values is not None]
    for axis, (name, values) in zip(axes[1:], shown, strict=False):
        draw_heat(result, axis, values, name)
    draw_color_bar(axes[: len(planes)], norm, planes, color_bar_shrink(result))


def draw_together(results: Sequence[SurfaceResult], names: Sequence[str], axes: Sequence[Axes]) -> None:
    """Draws the first planes of several results on one scale, or the lines of all results in one panel."""
    if results[0].beta is None:
        draw_lines(results, names, axes[0])
        return
    planes = [loss_planes(result)[0] for result in results]
    norm = loss_scale(planes)
    for result, name, axis, losses in zip(results, names, axes, planes, strict=True):
        above = draw_contours(result, axis, losses, norm)
        first = f", plane 0 of {len(result.loss)}" if result.seed is not None else ""
        axis.set_title(shorten(name) + first, fontsize=9, pad=above)
    draw_color_bar(axes, norm, planes, color_bar_shrink(results[0]))
