"""Results drawn on axes and figures of matplotlib: what `result.plot()` does, and pictures within pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import UsageError
from landscape.figures.layout import DPI, NOTEBOOK_DPI, PROJECTIONS, add_panels, new_figure, set_title, to_bytes
from landscape.figures.look import Context, Look
from landscape.figures.registry import draw_panels, panels_of, require_panels
from landscape.figures.style_sheets import settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NONE: Mapping[str, Any] = MappingProxyType({})
MAX_CORNERS = 5000  # of the lines of a contour: more are smaller as an image


def draw(result: Any, ax: Any = None, *, beside: Mapping[str, Any] = NONE, **look: Any) -> Any:
    """Draws a result with matplotlib, and returns its axes, a list of several.

    `ax` is the place: axes, as many as the result has panels; a figure, or a part of one (`subfigures`), which gets
    new axes; by default a new figure of pyplot's. `beside` holds other results of the same matrix by the names of
    their analyses: `density` marks the eigenvalues of an `eig`. The other arguments are those of `Look`, and the
    flags of `landscape plot`: `panel`, `form`, `title`, `width` (centimeters), `style`, `levels`, `range`, `view`.

    Raises UsageError for a result without a picture, for another number of axes, and for a look that does not apply.

    >>> import landscape
    >>> from landscape import figures
    >>> result = landscape.run(landscape.Eig(k=2), landscape.load("digits-mlp.pt", limit=100))
    >>> axes = figures.draw(result, panel="eigenvalues", title="two eigenvalues", width=8.4)
    >>> axes.get_xlabel()
    'rank'
    """
    context = Context(beside, Look(**look))
    if ax is not None and (context.look.width is not None or context.look.style is not None):
        raise UsageError("--width and --style make a figure of their own", fix="leave ax out, or these two")
    with settings(context.look):
        panels = require_panels(result, context)
        axes = _axes_for(list(panels), ax, context.look)
        draw_panels(panels, axes)
        entitle(axes, context.look, "")
    return axes[0] if len(axes) == 1 else axes


def _axes_for(names: Sequence[str], ax: Any, look: Look) -> list[Axes]:
    """The axes of the panels: those given, or new ones; raises UsageError for another number, or for flat ones."""
    if ax is None:
        from matplotlib import pyplot

        return new_figure(names, look, pyplot.figure)[1]
    if hasattr(ax, "add_subplot"):
        return add_panels(ax, names)
    given = list(ax.ravel()) if hasattr(ax, "ravel") else list(ax) if isinstance(ax, list | tuple) else [ax]
    if len(given) != len(names):
        raise UsageError(
            f"{len(given)} axes for a figure of {len(names)} panels",
            fix=f"figure, axes = matplotlib.pyplot.subplots(1, {len(names)})",
        )
    if any(name in PROJECTIONS and one.name != PROJECTIONS[name] for name, one in zip(names, given, strict=True)):
        raise UsageError("a solid is drawn on axes in three dimensions", fix='subplot_kw={"projection": "3d"}')
    return given


def entitle(axes: Sequence[Axes], look: Look, heading: str) -> None:
    """Writes the title of the look, or else a heading; a panel that is alone loses its own where no title is wanted."""
    title = heading if look.title is None else look.title
    if title:
        set_title(axes[0].figure, title)
    elif look.title is not None and len(axes) == 1:
        axes[0].set_title("")


def picture(result: Any) -> bytes:
    """A result's picture as PNG, in the size of a notebook."""
    look = Look()
    with settings(look):
        panels = require_panels(result)
        figure, axes = new_figure(list(panels), look)
        draw_panels(panels, axes)
        return to_bytes(figure, "png", NOTEBOOK_DPI)


def drawing(result: Any, beside: Mapping[str, Any] = NONE, *, page: Mapping[str, Any]) -> bytes:
    """A result's picture as SVG, with settings of matplotlib for the `page`; planes of colors are images of points.

    `beside` holds other results of the same matrix, by the names of their analyses.
    """
    panels = panels_of(result, Context(beside))
    return as_svg(list(panels), partial(draw_panels, panels), page)


def as_svg(names: Sequence[str], draw_all: Callable[[Sequence[Axes]], None], page: Mapping[str, Any]) -> bytes:
    """The panels as SVG. Filled contours, which have a path for each level and cell, and ragged ones become images."""
    look = Look()
    with settings(look, page):
        figure, axes = new_figure(names, look)
        draw_all(axes)
        make_large_parts_images(figure)
        return to_bytes(figure, "svg", DPI, {"Date": None, "Creator": None})


def make_large_parts_images(figure: Figure) -> None:
    """Marks the parts that are larger as paths than as points, which a file of vectors then holds as images."""
    from matplotlib.collections import QuadMesh
    from matplotlib.contour import ContourSet

    for artist in figure.findobj():
        if isinstance(artist, ContourSet):
            corners = sum(np.shape(path.vertices)[0] for path in artist.get_paths())
            artist.set_rasterized(bool(artist.filled) or corners > MAX_CORNERS)
        elif isinstance(artist, QuadMesh):
            artist.set_rasterized(True)
