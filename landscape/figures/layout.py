"""Panels on a figure: how many stand side by side, how large they are, and the title above them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

from landscape.errors import clean
from landscape.figures.look import Look
from landscape.figures.texts import LETTER, font_size, legend_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PANEL_SIZE = (5.0, 3.75)  # inches, on a screen
IN_ROW = 2  # panels side by side on a screen: 1,600 pixels
DPI, PRINT_DPI, NOTEBOOK_DPI = 160, 300, 80
INCH = 2.54  # centimeters
NARROWEST_PANEL = 8.0  # centimeters: the labels of a narrower panel leave no room for it
PRINTED_HEIGHT = 0.8  # of a panel, relative to its width: labels take more of a small panel
WIDE_HEIGHT = (6.0, 0.2)  # of a wide panel at most, in centimeters and relative to its width
MAX_NOTES = 3  # below all panels
MISSING_GLYPHS = "Glyph .* missing from font"  # a warning: a name in another script is drawn as boxes
COLLAPSED = "constrained_layout not applied"  # a warning: long names leave no room for a panel
PROJECTIONS = {"solid": "3d"}  # of panels that are not flat, by name


def new_figure(
    names: Sequence[str], look: Look, make: Callable[..., Figure] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with panels of these names, made by `make`; by default it belongs to no window, and needs no pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, (width, height) = _grid(len(names), look.width)
    rows = -(-len(names) // columns)
    form: Any = {"figsize": (width * columns, height * rows), "layout": "constrained"}
    figure = make(**form) if make else Figure(**form)
    if make is None:
        FigureCanvasAgg(figure)
    return figure, add_panels(figure, names, columns)


def add_panels(figure: Any, names: Sequence[str], columns: int | None = None) -> list[Axes]:
    """Axes for panels of these names on a figure, or on a part of one, in rows of so many `columns`."""
    across = columns or _grid(len(names), None)[0]
    rows = -(-len(names) // across)
    return [
        figure.add_subplot(rows, across, place, projection=PROJECTIONS.get(name))
        for place, name in enumerate(names, start=1)
    ]


def _grid(count: int, width: float | None) -> tuple[int, tuple[float, float]]:
    """The number of panels side by side, and the size of one in inches, in a figure of a width in centimeters."""
    if width is None:
        return min(count, IN_ROW), PANEL_SIZE
    most = min(count, max(1, int(width // NARROWEST_PANEL)))
    columns = -(-count // -(-count // most))  # no more than rows of equal length need
    one = width / columns
    height = min(PRINTED_HEIGHT * one, WIDE_HEIGHT[0] + WIDE_HEIGHT[1] * one)
    return columns, (one / INCH, height / INCH)


def set_title(figure: Figure | SubFigure, text: str) -> None:
    """Writes a title above all panels, in as many lines as it needs."""
    from matplotlib import rcParams

    size = font_size(rcParams["font.size"])
    letters = int(72 * figure.bbox.width / figure.dpi / (LETTER * size))
    figure.suptitle("\n".join(wrap(legend_text(text), letters)), fontsize=size)


def set_footnotes(figure: Figure, notes: Sequence[str]) -> None:
    """Writes sentences below all panels, in as many lines as they need; beyond three it says how many are left."""
    shown = [*notes[:MAX_NOTES], *([f"and {len(notes) - MAX_NOTES} more"] if len(notes) > MAX_NOTES else [])]
    size = font_size("small")
    letters = int(72 * figure.bbox.width / figure.dpi / (LETTER * size))
    lines = [line for note in shown for line in wrap(clean(note), letters)]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=size, x=0.01, ha="left", parse_math=False)


def to_bytes(figure: Figure, kind: str, dpi: float, metadata: dict[str, Any] | None = None) -> bytes:
    """The figure in a format. Its panels are arranged once: savefig would draw one with a layout engine twice."""
    image = io.BytesIO()
    with catch_warnings():
        for message in (MISSING_GLYPHS, COLLAPSED):
            filterwarnings("ignore", message)
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        figure.set_layout_engine(None)
        figure.savefig(image, format=kind, dpi=dpi, metadata=metadata)
    return image.getvalue()


def dots_per_inch(look: Look) -> int:
    """The resolution of an image: that of print for a figure of a given width."""
    return DPI if look.width is None else PRINT_DPI
