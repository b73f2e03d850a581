"""The losses of populations and the cosines of their gradients; measures of all samples alone have no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.figures.populations import draw_populations, population_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.measures import MeasuresResult


def panels(result: MeasuresResult) -> int:
    """Those of populations; none without --by."""
    return population_panels(result)


def draw(result: MeasuresResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the mean losses of the populations with their standard errors, and the cosines of their gradients."""
    draw_populations(
        result, axes, result.population_loss, result.population_loss_se, result.loss, "loss (bars: standard error)"
    )
