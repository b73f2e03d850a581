"""Results of several checkpoints in one picture: spectra, densities, traces and sharpness curves, a panel for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import GREY, SeriesStyle, label_integers, series_style
from landscape.figures.texts import cut, draw_legend, letters_beside, set_heading, set_label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Named = Mapping[str, Any]  # results by the labels of their checkpoints


def overlaid(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The analyses that all checkpoints have, and that can be drawn over each other."""
    return [name for name in DRAWN if all(name in one for one in results)]


def draw_overlay(name: str, results: Named, axes: Axes) -> None:
    """Draws one analysis of all checkpoints into a panel."""
    DRAWN[name](results, axes)
    if name != "trace":
        draw_legend(axes)


def _styles(results: Named) -> list[tuple[str, Any, SeriesStyle]]:
    """Each label with its result, and how it is drawn."""
    return [(shorten(label), result, series_style(place)) for place, (label, result) in enumerate(results.items())]


def _draw_eig(results: Named, axes: Axes) -> None:
    by_samples = False
    for label, result, style in _styles(results):
        rank = np.arange(len(result.eigenvalues))
        bars: Any = {"yerr": result.residuals, "elinewidth": 1.2, "color": style.color, "label": label}
        axes.errorbar(rank, result.eigenvalues, fmt=style.mark, markersize=5, **bars)
        if result.data_standard_errors is not None:
            ends: Any = {"yerr": result.data_standard_errors, "elinewidth": 0.8, "capsize": 4, "color": style.color}
            axes.errorbar(rank, result.eigenvalues, fmt="none", **ends)
            by_samples = True
    axes.axhline(0, color=GREY, linewidth=0.8)
    label_integers(axes)
    with_ends = ", with ends: error by samples" if by_samples else ""
    axes.set_xlabel("rank")
    set_label(axes, "y", f"eigenvalue (bars: residual{with_ends})")
    set_heading(axes, "largest eigenvalues")


def _draw_density(results: Named, axes: Axes) -> None:
    for label, result, style in _styles(results):
        if result.density_band is not None:
            axes.fill_between(result.grid, *result.density_band, color=style.color, alpha=0.15, linewidth=0)
        axes.plot(result.grid, result.density, color=style.color, linestyle=style.line, linewidth=1.3, label=label)
    tallest = max(float(np.nanmax(result.density)) for result in results.values())
    least = min(1 / (result.parameters * result.width) for result in results.values())
    axes.set_yscale("log")
    axes.set_ylim(least / 100, 10 * tallest)
    axes.set(xlabel="eigenvalue", ylabel="density")
    set_heading(axes, "density (bands: 95 %)")


def _draw_trace(results: Named, axes: Axes) -> None:
    styles = _styles(results)
    for place, (_, result, style) in enumerate(styles):
        low, high = result.interval
        bars: Any = {"xerr": [[result.trace - low], [high - result.trace]], "elinewidth": 1.5, "color": style.color}
        axes.errorbar(result.trace, place, fmt=style.mark, markersize=6, **bars)
    letters = letters_beside(axes, "small")
    axes.set_yticks(range(len(styles)), [cut(label, letters) for label, *_ in styles], fontsize="small")
    axes.set_ylim(len(styles) - 0.5, -0.5)
    axes.set_xlabel("trace (bars: 95 % interval)")
    set_heading(axes, "trace")


def _draw_sharpness(results: Named, axes: Axes) -> None:
    for label, result, style in _styles(results):
        shared: Any = {"color": style.color, "marker": style.mark, "markersize": 5}
        if result.s_max is not None:
            axes.plot(result.rho, result.s_max, label=f"{label}, worst case", **shared)
        if result.s_avg is not None:
            bars: Any = {"yerr": result.s_avg_se, "elinewidth": 1.2, "markerfacecolor": "none", "linestyle": "--"}
            axes.errorbar(result.average_rho, result.s_avg, label=f"{label}, average case", **bars, **shared)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel=r"radius $\rho$", ylabel="rise of the mean loss")
    set_heading(axes, "adaptive sharpness")


DRAWN: Mapping[str, Callable[[Named, Any], None]] = {
    "eig": _draw_eig,
    "density": _draw_density,
    "trace": _draw_trace,
    "sharpness": _draw_sharpness,
}
OVERLAID = (*DRAWN, "surface")  # lines and planes have panels of their own
