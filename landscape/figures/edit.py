"""The picture of an edit: what it costs and erases along the sweep over rho."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import GREY, population_style
from landscape.figures.texts import draw_legend, legend_text, set_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.edit_result import EditResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

SHARES = {"recitation": "texts recited", "accuracy": "accuracy"}  # labels of the fields that are shares of samples


def panels(result: EditResult, context: Context) -> Panels:
    """Recitation and accuracy, where the result has them, and the loss, against rho."""
    found: dict[str, Callable[[Axes], None]] = {
        name: partial(_draw_shares, result, values=getattr(result, name), label=label)
        for name, label in SHARES.items()
        if getattr(result, name) is not None
    }
    return {**found, "loss": partial(_draw_losses, result)}


def _draw_shares(result: EditResult, axes: Axes, values: np.ndarray, label: str) -> None:
    _draw_curves(result, values, axes, label)
    axes.set_ylim(-0.03, 1.03)


def _draw_losses(result: EditResult, axes: Axes) -> None:
    _draw_curves(result, result.population_loss, axes, "mean loss")
    axes.set_yscale("log")


def _draw_curves(result: EditResult, values: np.ndarray, axes: Axes, label: str) -> None:
    """One curve for each population of `values` `(populations, rho)`, and a line at the chosen rho."""
    positions = np.arange(len(result.rho))
    for row, name in enumerate(result.population):
        if not np.isnan(values[row]).all():
            style = population_style(str(name), row)
            axes.plot(
                positions, values[row], linestyle=style.line, marker=style.mark, color=style.color, markersize=4,
                label=legend_text(str(name)),
            )  # fmt: skip
    chosen = int(np.argmin(np.abs(result.rho - result.chosen_rho)))
    axes.axvline(chosen, color=GREY, linewidth=1, linestyle="--", label="chosen")
    axes.set_xticks(positions, [f"{rho:g}" for rho in result.rho], fontsize="small", rotation=45)
    set_label(axes, "x", "rho: share of the mass that is kept")
    axes.set_ylabel(label)
    draw_legend(axes)
