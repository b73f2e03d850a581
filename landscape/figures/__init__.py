"""Pictures of results: each is drawn on given matplotlib axes; saving is separate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analyses.eig import EigResult
from landscape.figures import eig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[[Any, "Sequence[Axes]"], None]
FIGURES: dict[type, tuple[int, Draw]] = {EigResult: (eig.PANELS, eig.draw)}
PANEL = (5.2, 3.9)  # inches
DPI = 160


def save(result: Any, path: Path, *, title: str, fingerprint: str) -> None:
    """Draws the result into a PNG file that carries the run's fingerprint; replaced atomically."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from landscape.store import replace_file

    panels, draw = FIGURES[type(result)]
    figure = Figure(figsize=(PANEL[0] * panels, PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    draw(result, figure.subplots(1, panels, squeeze=False)[0])
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    image = io.BytesIO()
    figure.savefig(image, dpi=DPI, metadata={"Description": f"landscape run {fingerprint}"})
    replace_file(path, image.getvalue())
