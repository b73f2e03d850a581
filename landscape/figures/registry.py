"""The figure of each kind of result: how many panels it takes, and how they are drawn on matplotlib axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Callable[[Any], int]  # the number of axes that the figure of a result takes; 0 if there is nothing to draw
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


def panel_count(result: Any) -> int:
    """The number of panels in the figure of a result; 0 if it has no figure, or nothing to draw."""
    panels, _ = FIGURES.get(type(result), (lambda nothing: 0, None))
    return panels(result)


def drawn(result: Any) -> bool:
    """Whether a picture of this result can be drawn: some results are a few numbers, others may be empty."""
    return panel_count(result) > 0
