"""Pictures in files: panels side by side, a title, and the fingerprint of the run."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

import numpy as np

from landscape.errors import UsageError, clean
from landscape.figures import history, overlay, surface, surface_barcode, surface_solid
from landscape.figures.registry import FIGURES, panel_count
from landscape.storage import paths
from landscape.storage.atomic_files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.analyses.surfaces.result import SurfaceResult
    from landscape.history import History

PANEL_SIZE = (5.2, 3.9)  # inches
DPI, NOTEBOOK_DPI = 160, 80
MAX_IN_ROW = 3  # panels side by side; more are arranged in a square
IN_ROW_OF_PAGE = 2  # panels side by side in a page, whose width is fixed
LONG_TITLE = 60  # letters: a title of so many, or more, is set smaller
TITLE_SIZES = (11, 8)  # points, of a short title and of a long one
TEXT_AS_TEXT: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}  # journals refuse Type 3 fonts
FORMATS = paths.PICTURES
SURFACE_FORMS = {"solid": surface_solid.draw_solid, "barcode": surface_barcode.draw_barcode}
MAX_CORNERS = 5000  # of the lines of a contour: more are smaller as an image
COLLAPSED = "constrained_layout not applied"  # a warning: long names leave no room for a panel
MISSING_GLYPHS = "Glyph .* missing from font"  # a warning: a name in another script is drawn as boxes


def save_figure(
    result: Any,
    path: Path,
    *,
    title: str,
    fingerprint: str,
    beside: Mapping[str, Any] = MappingProxyType({}),
    form: str = "",
) -> None:
    """Draws a result into a file that carries the fingerprint of its run; an earlier file is replaced atomically.

    `beside` holds other results of the same matrix, by the names of their analyses. The first plane of a surface has
    other forms: `solid`, in three dimensions, and `barcode`, its minima. Raises UsageError if there is nothing to draw.
    """
    count = panel_count(result)
    if not count:
        raise UsageError("this result has no picture", fix="landscape show prints its numbers")
    _, draw = FIGURES[type(result)]
    draw = SURFACE_FORMS[form] if form else draw
    _save_panels(path, 1 if form else count, title, fingerprint, lambda axes: draw(result, axes, beside))


def picture(result: Any) -> bytes:
    """A result's picture as PNG, in the size of a notebook."""
    count, (_, draw) = panel_count(result), FIGURES[type(result)]
    figure, axes = _panels(count)
    draw(result, axes, {})
    image = io.BytesIO()
    with catch_warnings():
        filterwarnings("ignore", MISSING_GLYPHS)
        _lay_out(figure)
        figure.savefig(image, format="png", dpi=NOTEBOOK_DPI)
    return image.getvalue()


def drawing(result: Any, beside: Mapping[str, Any] = MappingProxyType({}), *, style: Mapping[str, Any]) -> bytes:
    """A result's picture as SVG, in matplotlib's settings `style`; planes of colors in it are images of points.

    `beside` holds other results of the same matrix, by the names of their analyses.
    """
    count, (_, draw) = panel_count(result), FIGURES[type(result)]
    return _as_svg(count, lambda axes: draw(result, axes, beside), style)


def overlay_drawing(
    results: Sequence[Mapping[str, Any]], labels: Sequence[str], *, style: Mapping[str, Any]
) -> bytes | None:
    """What several checkpoints all have as SVG, as `save_overlay` draws it; None if there is nothing."""
    count, draw = _overlay_panels(results, labels)
    return _as_svg(count, draw, style) if count else None


def _as_svg(count: int, draw: Callable[[Sequence[Axes]], None], style: Mapping[str, Any]) -> bytes:
    """The panels as SVG. Filled contours, which have a path for each level and cell, and ragged ones become images."""
    from matplotlib import rc_context
    from matplotlib.collections import QuadMesh
    from matplotlib.contour import ContourSet

    image = io.BytesIO()
    settings: Any = {**TEXT_AS_TEXT, **style}
    with rc_context(settings), catch_warnings():
        for message in (MISSING_GLYPHS, COLLAPSED):
            filterwarnings("ignore", message)
        figure, axes = _panels(count, in_row=IN_ROW_OF_PAGE)
        draw(axes)
        for artist in figure.findobj():
            if isinstance(artist, ContourSet):
                corners = sum(np.shape(path.vertices)[0] for path in artist.get_paths())
                artist.set_rasterized(bool(artist.filled) or corners > MAX_CORNERS)
            elif isinstance(artist, QuadMesh):
                artist.set_rasterized(True)
        _lay_out(figure)
        figure.savefig(image, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return image.getvalue()


def draw_on(result: Any, axes: Any = None) -> Any:
    """Draws a result on axes of matplotlib, or on new ones of pyplot's; returns them, a list of several.

    Raises UsageError unless there are as many as the result has panels, and for a result without a picture.
    """
    count = panel_count(result)
    if not count:
        raise UsageError("this result has no picture", fix="print() shows its numbers")
    if axes is None:
        from matplotlib import pyplot

        _, given = _panels(count, pyplot.figure)
    elif hasattr(axes, "ravel"):
        given = list(axes.ravel())
    else:
        given = list(axes) if isinstance(axes, list | tuple) else [axes]
    if len(given) != count:
        raise UsageError(
            f"{len(given)} axes for a figure of {count} panels",
            fix=f"figure, axes = matplotlib.pyplot.subplots(1, {count})",
        )
    FIGURES[type(result)][1](result, given, {})
    return given[0] if count == 1 else given


def save_surfaces(results: Sequence[SurfaceResult], path: Path, *, names: Sequence[str], fingerprint: str) -> None:
    """Draws several surfaces side by side on one color scale, or several lines into one panel."""
    count = 1 if results[0].beta is None else len(results)
    _save_panels(path, count, "", fingerprint, lambda axes: surface.draw_together(results, names, axes))


def save_histories(histories: Sequence[History], path: Path, *, labels: Sequence[str]) -> None:
    """Draws several runs over each other; raises UsageError if there is nothing that all of them have."""
    count = len(history.together(histories))
    if not count:
        raise UsageError("the runs have nothing in common that can be drawn", fix="the same measurements of each")
    fingerprint = " ".join(one.fingerprint for one in histories)
    _save_panels(path, count, "", fingerprint, lambda axes: history.draw_runs(histories, labels, axes))


def save_overlay(results: Sequence[Mapping[str, Any]], path: Path, *, labels: Sequence[str], fingerprint: str) -> None:
    """Draws what several checkpoints all have into one picture: a panel for each analysis, or lines and planes.

    `results` are by the names of their analyses. Raises UsageError if there is nothing that all of them have.
    """
    count, draw = _overlay_panels(results, labels)
    if not count:
        raise UsageError(
            "the results have nothing in common that can be drawn", fix=f"one of {', '.join(overlay.DRAWN)} of each"
        )
    _save_panels(path, count, "", fingerprint, draw)


def _overlay_panels(
    results: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> tuple[int, Callable[[Sequence[Axes]], None]]:
    """The number of panels of what all checkpoints have, and how they are drawn."""
    names = overlay.overlaid(results)
    surfaces = [one["surface"] for one in results if "surface" in one]
    alike = len(surfaces) == len(results) and len({one.beta is None for one in surfaces}) == 1
    planes = (1 if surfaces[0].beta is None else len(surfaces)) if alike else 0

    def draw(axes: Sequence[Axes]) -> None:
        """Draws the panels."""
        for name, one in zip(names, axes, strict=False):
            overlay.draw_overlay(name, dict(zip(labels, (each[name] for each in results), strict=True)), one)
        if planes:
            surface.draw_together(surfaces, labels, axes[len(names) :])

    return len(names) + planes, draw


def _save_panels(path: Path, count: int, title: str, fingerprint: str, draw: Callable[[Sequence[Axes]], None]) -> None:
    from matplotlib import rc_context

    figure, axes = _panels(count)
    draw(axes)
    if title:
        figure.suptitle(clean(title).replace("$", r"\$"), fontsize=TITLE_SIZES[len(title) >= LONG_TITLE])
    image = io.BytesIO()
    kind = path.suffix if path.suffix in FORMATS else FORMATS[0]
    note = {"Subject" if kind == ".pdf" else "Description": f"{paths.PICTURE_MARK}{fingerprint}"}
    with rc_context(TEXT_AS_TEXT), catch_warnings():
        filterwarnings("ignore", MISSING_GLYPHS)
        _lay_out(figure)
        figure.savefig(image, format=kind[1:], dpi=DPI, metadata=note)
    replace_file(path, image.getvalue())


def _panels(
    count: int, make: Callable[..., Figure] | None = None, *, in_row: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, made by `make`; by default it belongs to no window, and pyplot is not loaded.

    `in_row` is the largest number of panels side by side.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = count if count <= MAX_IN_ROW else math.ceil(math.sqrt(count))
    columns = min(columns, in_row or columns)
    rows = -(-count // columns)
    form: Any = {"figsize": (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows), "layout": "constrained"}
    figure = make(**form) if make else Figure(**form)
    if make is None:
        FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _lay_out(figure: Figure) -> None:
    """Arranges the panels once: savefig would draw a figure that has a layout engine twice."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)
