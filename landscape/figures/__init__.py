"""Pictures of results: each is drawn on given matplotlib axes; saving is separate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.flatness import FlatnessResult
from landscape.analyses.sharpness import SharpnessResult
from landscape.analyses.trace import TraceResult
from landscape.figures import density, eig, flatness, sharpness, trace

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
}

PANEL = (5.2, 3.9)  # inches
DPI = 160


def drawn(result: Any) -> bool:
    """Whether there is a picture of such a result; a few numbers have none."""
    return type(result) in FIGURES


def save(
    result: Any, path: Path, *, title: str, fingerprint: str, beside: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Draws the result into a PNG file that carries the run's fingerprint; replaced atomically.

    `beside` are other results of the same matrix, by the names of their analyses.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from landscape.store import replace_file

    panels, draw = FIGURES[type(result)]
    count = panels(result)
    figure = Figure(figsize=(PANEL[0] * count, PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    draw(result, figure.subplots(1, count, squeeze=False)[0], beside)
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    image = io.BytesIO()
    figure.savefig(image, dpi=DPI, metadata={"Description": f"landscape run {fingerprint}"})
    replace_file(path, image.getvalue())
