"""The figure of a surface: filled contours of planes, lines with loss and accuracy, solids, and barcodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from landscape.errors import UsageError
from landscape.figures.surface_barcode import draw_barcode
from landscape.figures.surface_contours import color_bar_shrink, draw_contours, draw_heat
from landscape.figures.surface_lines import draw_line, draw_lines
from landscape.figures.surface_scale import draw_color_bar, loss_planes, loss_scale
from landscape.figures.surface_solid import draw_solid
from landscape.figures.texts import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult
    from landscape.figures.look import Context, Look
    from landscape.figures.registry import Panels


def panels(result: SurfaceResult, context: Context) -> Panels:
    """One for all lines, one for each of several planes, or one for each column of a single plane.

    The first plane as a solid, or its barcode, is a figure of its own. Raises UsageError where the look is for another
    kind of surface.
    """
    look = context.look
    _require_applicable(result, look)
    if look.form == "solid":
        return {"solid": partial(draw_solid, result, look=look)}
    if look.form == "barcode":
        return {"barcode": partial(draw_barcode, result)}
    if result.beta is None:
        return {"line": partial(draw_line, result)}
    if result.seed is not None:
        count = len(result.loss)
        return {f"plane-{number}": partial(_draw_plane, result, look, number) for number in range(count)}
    found: dict[str, Callable[[Axes], None]] = {"loss": partial(_draw_plane, result, look, 0)}
    for name, values in (("accuracy", result.accuracy), ("metric", result.metric)):
        if values is not None:
            found[name] = partial(draw_heat, result, values=values, name=name)
    return found


def _require_applicable(result: SurfaceResult, look: Look) -> None:
    """Raises UsageError for an option of planes or solids on a line, and for one of planes on a barcode."""
    flags = look.of_surfaces()
    if look.form == "barcode" and len(flags) > 1:
        raise UsageError(f"a barcode has neither contours nor colors: {flags[-1]}", fix=f"leave {flags[-1]} out")
    if result.beta is None and flags and look.form != "barcode":
        raise UsageError(f"{flags[0]} is for planes, and this is a line", fix="landscape surface CKPT --dim 2")


def _draw_plane(result: SurfaceResult, look: Look, number: int, axes: Axes) -> None:
    """Draws the losses of one plane; several planes of a result have one scale."""
    planes = loss_planes(result)
    norm = loss_scale(planes, look.range)
    heading = f"plane {number} (of {len(planes)})" if len(planes) > 1 else ""
    draw_contours(result, axes, planes[number], norm, look=look, heading=heading)
    draw_color_bar([axes], norm, planes, color_bar_shrink(result))


def draw_together(results: Sequence[SurfaceResult], names: Sequence[str], axes: Sequence[Axes], look: Look) -> None:
    """Draws the first planes of several results on one scale, or the lines of all results in one panel.

    Raises UsageError where the look is for planes, and these are lines.
    """
    for result in results:
        _require_applicable(result, look)
    if results[0].beta is None:
        draw_lines(results, names, axes[0])
        return
    planes = [loss_planes(result)[0] for result in results]
    norm = loss_scale(planes, look.range)
    for result, name, axis, losses in zip(results, names, axes, planes, strict=True):
        first = f", plane 0 of {len(result.loss)}" if result.seed is not None else ""
        draw_contours(result, axis, losses, norm, look=look, heading=shorten(name) + first)
    draw_color_bar(axes, norm, planes, color_bar_shrink(results[0]))
