"""The real changes of the loss by layer with their errors, and the forecasts, a panel for each kind of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import clean
from landscape.figures.style import BLUE, GREY, MAX_BARS, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult

FEWEST_DECADES, MOST_DECADES = 1.5, 5.0  # of the axis below the largest change
LABEL = "|change of the loss|; lines: one standard error; x: the forecast fails, ?: unclear"
SIGNS = ((1, BLUE, "real, a rise"), (-1, ORANGE, "real, a fall"))


def panels(result: SensitivityResult) -> int:
    """One for each kind of change."""
    return len(result.kind)


def draw(result: SensitivityResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the layers of largest real change, the largest on top, on a logarithmic axis of |change of the loss|."""
    for index, panel in enumerate(axes):
        draw_kind(result, index, panel)


def draw_kind(result: SensitivityResult, index: int, axes: Axes) -> None:
    """Draws bars of |real change| with a standard error, and circles at |forecast|; falls of the loss are orange."""
    from matplotlib.ticker import NullFormatter

    own = np.flatnonzero(result.change_kind == result.kind[index])
    own = own[np.argsort(-np.abs(result.change_real[own]), kind="stable")]
    shown = own[:MAX_BARS]
    real, error, forecast = (
        values[shown] for values in (result.change_real, result.change_real_se, result.change_forecast)
    )
    left, right = _limits(np.concatenate([np.abs(real), np.abs(forecast)]))
    places = np.arange(len(shown))
    for sign, color, label in SIGNS:
        mine = (np.sign(real) == sign) & np.isfinite(real)
        if mine.any():
            axes.barh(places[mine], np.abs(real[mine]), left=0, color=color, height=0.75, alpha=0.75, label=label)
            ends = [np.maximum(np.abs(real[mine]) + way * error[mine], left / 10) for way in (-1, 1)]
            axes.hlines(places[mine], *ends, color=GREY, linewidth=1.5)
    for sign, color, label in ((1, "black", "forecast"), (-1, ORANGE, "forecast, a fall")):
        mine = (np.sign(forecast) == sign) & np.isfinite(forecast)
        if mine.any():
            axes.plot(
                np.maximum(np.abs(forecast[mine]), left), places[mine], "o", markersize=4.5, color="white",
                markeredgecolor=color, markeredgewidth=1.3, label=label,
            )  # fmt: skip
    _label(result, index, axes, own)
    axes.set(xscale="log", xlim=(left, right), xlabel=LABEL)
    axes.xaxis.label.set_fontsize(8)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(result: SensitivityResult, index: int, axes: Axes, own: np.ndarray) -> None:
    """Names the layers, with a mark where the forecast fails, and says how well forecasts rank them."""
    shown = own[:MAX_BARS]
    marks = {"no": " x", "unclear": " ?"}
    names = [
        clean(str(layer)) + marks.get(str(holds), "")
        for layer, holds in zip(result.change_layer[shown], result.change_holds[shown], strict=True)
    ]
    size = 8 if len(names) <= MAX_BARS // 2 else 6
    axes.set_yticks(np.arange(len(names)), names, fontsize=size, parse_math=False)
    axes.invert_yaxis()
    number = f"{len(shown)} of {len(own)} layers" if len(shown) < len(own) else f"{len(own)} layers"
    ranked = result.kind_spearman[index]
    agreement = f", Spearman {ranked:.2f}" if np.isfinite(ranked) else ""
    axes.set_title(f"{result.kind[index]}: {number}{agreement}", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, edgecolor="none", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)


def _limits(sizes: np.ndarray) -> tuple[float, float]:
    """The ends of a logarithmic axis that shows the positive ones of these sizes."""
    positive = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(positive):
        return 1e-1, 1e1
    largest = float(positive.max())
    smallest = min(float(positive.min()) / 2, largest / 10**FEWEST_DECADES)
    return max(smallest, largest / 10**MOST_DECADES), 2.5 * largest
