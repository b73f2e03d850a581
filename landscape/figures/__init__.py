"""Pictures of results: each is drawn on given matplotlib axes; saving is separate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.memorization.edit_result import EditResult
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.analyses.neighborhood.flatness import FlatnessResult
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.trace import TraceResult
from landscape.figures import density, edit, eig, flatness, memorization, sharpness, surface, trace
from landscape.storage import paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Callable[[Any], int]  # how many axes a result takes
Draw = Callable[[Any, "Sequence[Axes]", Mapping[str, Any]], None]  # the last: other results of the same matrix, by name
FIGURES: dict[type, tuple[Panels, Draw]] = {
    EigResult: (eig.panels, eig.draw),
    DensityResult: (density.panels, density.draw),
    TraceResult: (trace.panels, trace.draw),
    SharpnessResult: (sharpness.panels, sharpness.draw),
    FlatnessResult: (flatness.panels, flatness.draw),
    SurfaceResult: (surface.panels, surface.draw),
    MemorizationResult: (memorization.panels, memorization.draw),
    EditResult: (edit.panels, edit.draw),
}

PANEL_SIZE = (5.2, 3.9)  # inches
DPI = 160
MAX_IN_ROW = 3  # panels that stand beside each other; more make a square
LONG_TITLE = 60  # letters of a title from which it is set smaller
TEXT_AS_TEXT: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}  # journals refuse Type 3 fonts
FORMATS = paths.PICTURES


def drawn(result: Any) -> bool:
    """Whether there is a picture of such a result; a few numbers have none."""
    return type(result) in FIGURES


def save(
    result: Any,
    path: Path,
    *,
    title: str,
    fingerprint: str,
    beside: Mapping[str, Any] = MappingProxyType({}),
    solid: bool = False,
) -> None:
    """Draws the result into a file that carries the run's fingerprint; replaced atomically.

    `beside` are other results of the same matrix, by the names of their analyses. A plane may be drawn as a `solid`.
    """
    panels, draw = FIGURES[type(result)]
    draw = surface.draw_solid if solid else draw
    _save(path, 1 if solid else panels(result), title, fingerprint, lambda axes: draw(result, axes, beside))


def save_together(results: Sequence[SurfaceResult], path: Path, *, names: Sequence[str], fingerprint: str) -> None:
    """Draws several surfaces beside each other on one colour scale, or several lines into one panel."""
    count = 1 if results[0].beta is None else len(results)
    _save(path, count, "", fingerprint, lambda axes: surface.draw_together(results, names, axes))


def _save(path: Path, count: int, title: str, fingerprint: str, draw: Callable[[Sequence[Axes]], None]) -> None:
    import io

    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from landscape.storage.atomic_files import replace_file

    columns = count if count <= MAX_IN_ROW else math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    draw(axes[:count])
    if title:
        figure.suptitle(title.replace("$", r"\$"), fontsize=11 if len(title) < LONG_TITLE else 8)
    image = io.BytesIO()
    kind = path.suffix if path.suffix in FORMATS else FORMATS[0]
    note = {"Subject" if kind == ".pdf" else "Description": f"{paths.PICTURE_MARK}{fingerprint}"}
    with rc_context(TEXT_AS_TEXT):
        figure.savefig(image, format=kind[1:], dpi=DPI, metadata=note)
    replace_file(path, image.getvalue())
