"""The figure of each kind of result: the panels that it has, and how each is drawn on matplotlib axes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.analyses import ANALYSES
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import UsageError
from landscape.figures import history
from landscape.figures.look import PLAIN, Context
from landscape.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Mapping[str, Callable[[Any], None]]  # what draws a panel on its axes, by the name of the panel
FindPanels = Callable[[Any, Context], Panels]
MAX_PANELS = 6  # of a figure; further ones are drawn where they are asked for


def _figure_of(name: str) -> FindPanels:
    """The function of the figure module that bears the name of the analysis."""
    found: FindPanels = importlib.import_module(f"landscape.figures.{name}").panels
    return found


FIGURES: dict[type, FindPanels] = {
    **{analysis.result: _figure_of(analysis.name) for analysis in ANALYSES if analysis.has_figure},
    History: history.panels,
}


def panels_of(result: Any, context: Context = PLAIN) -> Panels:
    """The panels in the figure of a result, in their order: those that the look names, else the first ones.

    Empty if the result has no figure, or nothing to draw. Raises UsageError if the look does not apply to the result.
    """
    look = context.look
    if (flags := look.of_surfaces()) and not isinstance(result, SurfaceResult):
        raise UsageError(f"{flags[0]} is for surfaces, and this is none", fix=f"leave {flags[0]} out")
    found = _all_panels(result, context)
    if missing := [name for name in look.panel if name not in found]:
        raise UsageError(f"there is no panel {missing[0]}", fix=f"one of {', '.join(found) or 'none'}")
    names = look.panel or list(found)[:MAX_PANELS]
    return {name: found[name] for name in names}


def panel_names(result: Any) -> list[str]:
    """The names of the panels that a result's figure can have, for `panel=` and `--panel`; empty without a figure.

    A figure shows the first six, or those that are asked for.

    >>> import landscape
    >>> from landscape import figures
    >>> figures.panel_names(landscape.run(landscape.Eig(k=2), landscape.load("digits-mlp.pt", limit=100)))
    ['eigenvalues', 'convergence']
    """
    return list(_all_panels(result, PLAIN))


def _all_panels(result: Any, context: Context) -> Panels:
    find = FIGURES.get(type(result))
    return find(result, context) if find is not None else {}


def panel_count(result: Any) -> int:
    """The number of panels in the figure of a result; 0 if it has no figure, or nothing to draw."""
    return len(panels_of(result))


def drawn(result: Any) -> bool:
    """Whether a picture of this result can be drawn: some results are a few numbers, others may be empty."""
    return panel_count(result) > 0


def require_panels(result: Any, context: Context = PLAIN) -> Panels:
    """The panels of a result; raises UsageError if there is nothing to draw."""
    found = panels_of(result, context)
    if not found:
        raise UsageError("this result has no picture", fix="landscape show prints its numbers")
    return found


def draw_panels(panels: Panels, axes: Sequence[Axes]) -> None:
    """Draws each of the panels on its axes."""
    for draw_panel, panel in zip(panels.values(), axes, strict=True):
        draw_panel(panel)
