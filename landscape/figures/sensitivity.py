"""The real changes of the loss by layer with their errors, and the forecasts, a panel for each kind of change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import BLUE, GREY, ORANGE, bars_that_fit, ink, name_size
from landscape.figures.texts import draw_legend, set_heading, set_label, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

FEWEST_DECADES, MOST_DECADES = 1.5, 5.0  # of the axis below the largest change
LABEL = "|change of the loss|; lines: one standard error; x: the forecast fails, ?: unclear"
SIGNS = ((1, BLUE, "", "real, a rise"), (-1, ORANGE, "///", "real, a fall"))


def panels(result: SensitivityResult, context: Context) -> Panels:
    """The layers of largest real change on a logarithmic axis of |change of the loss|, for each kind of change."""
    return {str(kind): partial(draw_kind, result, index) for index, kind in enumerate(result.kind)}


def draw_kind(result: SensitivityResult, index: int, axes: Axes) -> None:
    """Draws bars of |real change| with a standard error, and circles at |forecast|; falls of the loss are orange."""
    from matplotlib.ticker import NullFormatter

    own = np.flatnonzero(result.change_kind == result.kind[index])
    own = own[np.argsort(-np.abs(result.change_real[own]), kind="stable")]
    shown = own[: bars_that_fit(axes, len(own))]
    real, error, forecast = (
        values[shown] for values in (result.change_real, result.change_real_se, result.change_forecast)
    )
    left, right = _limits(np.concatenate([np.abs(real), np.abs(forecast)]))
    places = np.arange(len(shown))
    for sign, color, hatch, label in SIGNS:
        mine = (np.sign(real) == sign) & np.isfinite(real)
        if mine.any():
            axes.barh(
                places[mine], np.abs(real[mine]), left=0, color=color, height=0.75, hatch=hatch, edgecolor="white",
                linewidth=0, label=label,
            )  # fmt: skip
            ends = [np.maximum(np.abs(real[mine]) + way * error[mine], left / 10) for way in (-1, 1)]
            axes.hlines(places[mine], *ends, color=GREY, linewidth=1.5)
    for sign, color, mark, label in ((1, ink(), "o", "forecast"), (-1, ORANGE, "D", "forecast, a fall")):
        mine = (np.sign(forecast) == sign) & np.isfinite(forecast)
        if mine.any():
            axes.plot(
                np.maximum(np.abs(forecast[mine]), left), places[mine], mark, markersize=4.5, color="white",
                markeredgecolor=color, markeredgewidth=1.3, label=label,
            )  # fmt: skip
    axes.set(xscale="log", xlim=(left, right))
    set_label(axes, "x", LABEL)
    _label(result, index, axes, own)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(result: SensitivityResult, index: int, axes: Axes, own: np.ndarray) -> None:
    """Names the layers, with a mark where the forecast fails, and says how well forecasts rank them."""
    shown = own[: bars_that_fit(axes, len(own))]
    marks = {"no": " x", "unclear": " ?"}
    size = name_size(len(shown))
    layers = tick_names(axes, list(map(str, result.change_layer[shown])), size)
    names = [layer + marks.get(str(holds), "") for layer, holds in zip(layers, result.change_holds[shown], strict=True)]
    axes.set_yticks(np.arange(len(names)), names, fontsize=size, parse_math=False)
    axes.invert_yaxis()
    number = f"{len(shown)} of {len(own)} layers" if len(shown) < len(own) else f"{len(own)} layers"
    ranked = result.kind_spearman[index]
    agreement = f", Spearman {ranked:.2f}" if np.isfinite(ranked) else ""
    set_heading(axes, f"{result.kind[index]}: {number}{agreement}")
    draw_legend(axes, 4)


def _limits(sizes: np.ndarray) -> tuple[float, float]:
    """The ends of a logarithmic axis that shows the positive ones of these sizes."""
    positive = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(positive):
        return 1e-1, 1e1
    largest = float(positive.max())
    smallest = min(float(positive.min()) / 2, largest / 10**FEWEST_DECADES)
    return max(smallest, largest / 10**MOST_DECADES), 2.5 * largest
