"""The losses of populations and the cosines of their gradients; measures of all samples alone have no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.figures.populations import population_panels

if TYPE_CHECKING:
    from landscape.analyses.measures import MeasuresResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels


def panels(result: MeasuresResult, context: Context) -> Panels:
    """The mean losses of the populations with their standard errors, and the cosines of their gradients."""
    return population_panels(
        result, result.population_loss, result.population_loss_se, result.loss, "loss (bars: standard error)"
    )
