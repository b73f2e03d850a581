"""Results of several checkpoints in one picture: spectra, densities, traces and sharpness curves, a panel for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, YELLOW, label_integers
from landscape.figures.surface_labels import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Named = Mapping[str, Any]  # results by the labels of their checkpoints
COLORS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, "#000000")
MARKERS = "osD^v<>"  # beside colors: for readers who do not tell these apart


def overlaid(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The analyses that all checkpoints have, and that can be drawn over each other."""
    return [name for name in DRAWN if all(name in one for one in results)]


def draw_overlay(name: str, results: Named, axes: Axes) -> None:
    """Draws one analysis of all checkpoints into a panel."""
    DRAWN[name](results, axes)
    if name != "trace":
        axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")


def _styles(results: Named) -> list[tuple[str, Any, str, str]]:
    """Each label with its result, color and marker."""
    return [
        (shorten(label), result, color, marker)
        for (label, result), color, marker in zip(results.items(), cycle(COLORS), cycle(MARKERS))
    ]


def _draw_eig(results: Named, axes: Axes) -> None:
    for label, result, color, marker in _styles(results):
        rank = np.arange(len(result.eigenvalues))
        bars: Any = {"yerr": result.residuals, "elinewidth": 1.2, "color": color, "label": label}
        axes.errorbar(rank, result.eigenvalues, fmt=marker, markersize=5, **bars)
    axes.axhline(0, color=GREY, linewidth=0.8)
    label_integers(axes)
    axes.set(xlabel="rank", ylabel="eigenvalue (bars: residual)", title="largest eigenvalues")


def _draw_density(results: Named, axes: Axes) -> None:
    for label, result, color, _ in _styles(results):
        if result.density_band is not None:
            axes.fill_between(result.grid, *result.density_band, color=color, alpha=0.15, linewidth=0)
        axes.plot(result.grid, result.density, color=color, linewidth=1.3, label=label)
    tallest = max(float(np.nanmax(result.density)) for result in results.values())
    least = min(1 / (result.parameters * result.width) for result in results.values())
    axes.set_yscale("log")
    axes.set_ylim(least / 100, 10 * tallest)
    axes.set(xlabel="eigenvalue", ylabel="density", title="density (bands: 95 %)")


def _draw_trace(results: Named, axes: Axes) -> None:
    styles = _styles(results)
    for place, (_, result, color, marker) in enumerate(styles):
        low, high = result.interval
        bars: Any = {"xerr": [[result.trace - low], [high - result.trace]], "elinewidth": 1.5, "color": color}
        axes.errorbar(result.trace, place, fmt=marker, markersize=6, **bars)
    axes.set_yticks(range(len(styles)), [label for label, *_ in styles], fontsize=8)
    axes.set_ylim(len(styles) - 0.5, -0.5)
    axes.set(xlabel="trace (bars: 95 % interval)", title="trace")


def _draw_sharpness(results: Named, axes: Axes) -> None:
    for label, result, color, marker in _styles(results):
        if result.s_max is not None:
            axes.plot(result.rho, result.s_max, marker=marker, markersize=5, color=color, label=f"{label}, worst case")
        if result.s_avg is not None:
            bars: Any = {"yerr": result.s_avg_se, "elinewidth": 1.2, "color": color, "markerfacecolor": "none"}
            name = f"{label}, average case"
            axes.errorbar(result.average_rho, result.s_avg, fmt=f"{marker}--", markersize=5, label=name, **bars)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel=r"radius $\rho$", ylabel="rise of the mean loss", title="adaptive sharpness")


DRAWN: Mapping[str, Callable[[Named, Any], None]] = {
    "eig": _draw_eig,
    "density": _draw_density,
    "trace": _draw_trace,
    "sharpness": _draw_sharpness,
}
