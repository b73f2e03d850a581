"""The estimates of the trace by each estimator, and the traces of the layers' blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.populations import population_panels
from landscape.figures.style import BLUE, GREEN, GREY, ORANGE, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.trace import TraceResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels


def panels(result: TraceResult, context: Context) -> Panels:
    """The estimates with their standard errors, and the traces of layers and populations if there are any."""
    found: dict[str, Callable[[Axes], None]] = {"estimates": partial(draw_estimates, result)}
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_trace, errors=result.layer_standard_error,
            label="trace of the block",
        )  # fmt: skip
    label = "trace (bars: standard error)"
    return {
        **found,
        **population_panels(result, result.population_trace, result.population_trace_se, result.trace, label),
    }


def draw_estimates(result: TraceResult, axes: Axes) -> None:
    """Draws the estimate of each estimator, the 95 % interval, and dashed the half-width that was asked for."""
    places = np.arange(len(result.estimator))
    for place in places:
        axes.errorbar(
            place, result.estimator_trace[place], yerr=result.estimator_standard_error[place],
            fmt="o", markersize=6, elinewidth=1.5, capsize=4, color=BLUE if place == 0 else GREY,
        )  # fmt: skip
    axes.axhspan(*result.interval, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    half = result.rtol * abs(result.trace)
    for sign in (-1, 1):
        label = f"asked for: {result.rtol:.2g} of the trace" if sign > 0 else None
        axes.axhline(result.trace + sign * half, color=ORANGE, linestyle="--", linewidth=1, label=label)
    if result.data_standard_error is not None:
        axes.errorbar(
            -0.25, result.trace, yerr=result.data_standard_error, fmt="none", elinewidth=4, ecolor=GREEN, alpha=0.6,
            label="standard error of the data",
        )  # fmt: skip
    names = zip(result.estimator, result.estimator_products, strict=True)
    axes.set_xticks(places, [f"{name}\n{products} products" for name, products in names])
    axes.set_xlim(-0.5, max(len(places), 1) - 0.5)
    axes.set_ylabel("trace (bars: standard error)")
    set_heading(axes, f"{result.trace:.5g}, {result.parameters:,} parameters, {result.samples:,} samples")
    axes.margins(y=0.1)
    draw_legend(axes)
