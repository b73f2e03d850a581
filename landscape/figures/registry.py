"""The figure of each kind of result: how many panels it takes, and how they are drawn on matplotlib axes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.analyses import ANALYSES
from landscape.figures import history
from landscape.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Callable[[Any], int]  # the number of axes that the figure of a result takes; 0 if there is nothing to draw
Draw = Callable[[Any, "Sequence[Axes]", Mapping[str, Any]], None]  # the last: other results of the same matrix, by name


def _figure_of(name: str) -> tuple[Panels, Draw]:
    """The functions of the figure module that bears the name of the analysis."""
    module = importlib.import_module(f"landscape.figures.{name}")
    return module.panels, module.draw


FIGURES: dict[type, tuple[Panels, Draw]] = {
    **{analysis.result: _figure_of(analysis.name) for analysis in ANALYSES if analysis.has_figure},
    History: (history.panels, history.draw),
}


def panel_count(result: Any) -> int:
    """The number of panels in the figure of a result; 0 if it has no figure, or nothing to draw."""
    panels, _ = FIGURES.get(type(result), (lambda nothing: 0, None))
    return panels(result)


def drawn(result: Any) -> bool:
    """Whether a picture of this result can be drawn: some results are a few numbers, others may be empty."""
    return panel_count(result) > 0
