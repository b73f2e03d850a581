"""The sorted entries of the diagonal with their errors and the threshold of a mask, and the layers' traces."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.diagonal import DiagonalResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

DECADES = 8  # of the vertical axis at most, below the largest entry


def panels(result: DiagonalResult, context: Context) -> Panels:
    """The sorted entries with their errors, and the layers' traces with theirs."""
    return {
        "entries": partial(draw_entries, result),
        "layers": partial(
            draw_layer_bars, names=result.layer, values=result.layer_trace, errors=result.layer_trace_se,
            label="trace of the block",
        ),
    }  # fmt: skip


def draw_entries(result: DiagonalResult, axes: Axes) -> None:
    """Draws |entry| over the share of the entries that are larger, a band of a standard error, and the threshold."""
    known = np.isfinite(result.curve_value)
    share, value, error = result.curve_share[known], result.curve_value[known], result.curve_standard_error[known]
    positive = value[value > 0]
    largest = float(positive.max()) if len(positive) else 1.0
    error = np.minimum(error, 10 * largest)  # the visible part
    bottom = max(float(positive.min()) if len(positive) else 0.1, largest / 10**DECADES) / 2
    if (error > 0).any():
        low, high = np.maximum(value - error, bottom), np.maximum(value + error, bottom)
        axes.fill_between(share, low, high, color=BLUE, alpha=0.25, linewidth=0, label="one standard error")
    axes.plot(share, np.maximum(value, bottom), color=BLUE, linewidth=1.4, label="|entry|")
    mean = result.trace / result.parameters
    if mean > bottom:
        axes.axhline(mean, color=GREY, linestyle=":", linewidth=1, label="mean entry")
    if result.top_threshold is not None and result.top_share is not None:
        axes.axvline(result.top_share, color=ORANGE, linestyle="--", linewidth=1)
        label = f"threshold of {100 * result.top_share:.3g} %"
        axes.axhline(max(result.top_threshold, bottom), color=ORANGE, linestyle="--", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="share of the entries, largest first", ylabel="|entry|")
    axes.set(ylim=(bottom, 3 * largest), xlim=(0.8 / result.parameters, 1.25))
    error_text = "exact" if result.relative_error == 0 else f"errors {100 * result.relative_error:.2g} % of the norm"
    set_heading(axes, f"trace {result.trace:.5g}, {result.parameters:,} entries, {error_text}")
    draw_legend(axes)
