"""The picture of an edit: what it costs and erases along the sweep over rho."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import GREY, population_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.edit_result import EditResult

SHARES = {"recitation": "texts recited", "accuracy": "accuracy"}  # labels of the fields that are shares of samples


def panels(result: EditResult) -> int:
    """One panel for the loss, and one for each share that the result has."""
    return 1 + len(_shares(result))


def draw(result: EditResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws recitation and accuracy, where the result has them, and the loss against rho."""
    for name, panel in zip(_shares(result), axes, strict=False):
        _draw_curves(result, getattr(result, name), panel, SHARES[name])
        panel.set_ylim(-0.03, 1.03)
    _draw_curves(result, result.population_loss, axes[-1], "mean loss")
    axes[-1].set_yscale("log")


def _draw_curves(result: EditResult, values: np.ndarray, axes: Axes, label: str) -> None:
    """One curve for each population of `values` `(populations, rho)`, and a line at the chosen rho."""
    positions = np.arange(len(result.rho))
    for row, name in enumerate(result.population):
        if not np.isnan(values[row]).all():
            color = population_color(str(name), row)
            axes.plot(positions, values[row], "o-", color=color, markersize=4, label=str(name))
    chosen = int(np.argmin(np.abs(result.rho - result.chosen_rho)))
    axes.axvline(chosen, color=GREY, linewidth=1, linestyle="--", label="chosen")
    axes.set_xticks(positions, [f"{rho:g}" for rho in result.rho], fontsize=7, rotation=45)
    axes.set_xlabel("rho: share of the mass that is kept", fontsize=9)
    axes.set_ylabel(label)
    axes.legend(fontsize=7, edgecolor="none", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _shares(result: EditResult) -> list[str]:
    """The fields with shares that the result has."""
    return [name for name in SHARES if getattr(result, name) is not None]
