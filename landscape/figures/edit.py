"""What an edit costs and erases, along the sweep of rho."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import GREY, population_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.memorization.edit_result import EditResult

LABELS = {"recitation": "texts recited", "accuracy": "accuracy"}


def panels(result: EditResult) -> int:
    return 1 + len(_shares(result))


def draw(result: EditResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Accuracy, recitation where there are texts, and loss against rho."""
    for name, panel in zip(_shares(result), axes, strict=False):
        _curves(result, getattr(result, name), panel, LABELS[name])
        panel.set_ylim(-0.03, 1.03)
    _curves(result, result.population_loss, axes[-1], "mean loss")
    axes[-1].set_yscale("log")


def _curves(result: EditResult, values: np.ndarray, axes: Axes, label: str) -> None:
    places = np.arange(len(result.rho))
    for row, name in enumerate(result.population):
        if not np.isnan(values[row]).all():
            axes.plot(places, values[row], "o-", color=population_color(str(name), row), markersize=4, label=str(name))
    chosen = int(np.argmin(np.abs(result.rho - result.chosen_rho)))
    axes.axvline(chosen, color=GREY, linewidth=1, linestyle="--", label="chosen")
    axes.set_xticks(places, [f"{rho:g}" for rho in result.rho], fontsize=7, rotation=45)
    axes.set_xlabel("rho: share of the mass that is kept", fontsize=9)
    axes.set_ylabel(label)
    axes.legend(fontsize=7, edgecolor="none", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _shares(result: EditResult) -> list[str]:
    return [name for name in LABELS if getattr(result, name) is not None]
