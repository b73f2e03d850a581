"""The spectrum with residual bars, and the convergence of each value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.populations import population_panels
from landscape.figures.style import (
    BLUE,
    GREY,
    MAX_NAMED,
    ORANGE,
    draw_layer_bars,
    draw_shades_bar,
    label_integers,
    series_style,
    shades,
)
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.eig import EigResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

LINEAR_AXIS_RATIO = 20  # of the two ends: with a larger ratio a linear axis hides the smaller end


def panels(result: EigResult, context: Context) -> Panels:
    """Eigenvalues by rank, relative residuals by product, and the values of layers and populations, if any."""
    found: dict[str, Callable[[Axes], None]] = {
        "eigenvalues": partial(draw_eigenvalues, result),
        "convergence": partial(draw_convergence, result),
    }
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_eigenvalue, errors=result.layer_residual,
            label="leading eigenvalue of the block",
        )  # fmt: skip
    whole, label = float(result.eigenvalues.max()), "largest eigenvalue (bars: residual)"
    return {
        **found,
        **population_panels(result, result.population_eigenvalue, result.population_residual, whole, label),
    }


def draw_eigenvalues(result: EigResult, axes: Axes) -> None:
    """Draws the eigenvalues with residuals as bars, and PyHessian's values if the result holds them."""
    values, rank = result.eigenvalues, np.arange(len(result.eigenvalues))
    for mask, color, mark, label in (
        (result.converged, BLUE, "o", "converged"),
        (~result.converged, ORANGE, "D", "not converged"),
    ):
        if mask.any():
            axes.errorbar(
                rank[mask], values[mask], yerr=result.residuals[mask],
                fmt=mark, markersize=5, elinewidth=1.5, color=color, label=label,
            )  # fmt: skip
    if result.pyhessian_eigenvalues is not None:
        axes.plot(rank, result.pyhessian_eigenvalues, "x", color=ORANGE, markersize=8, zorder=3, label="PyHessian")
    low, high = float(np.nanmin(values - result.residuals)), float(np.nanmax(values + result.residuals))
    if low < 0:
        axes.axhline(0, color=GREY, linewidth=0.8)
    if low < 0 < high and max(-low, high) > LINEAR_AXIS_RATIO * min(-low, high):
        axes.set_yscale("symlog", linthresh=min(-low, high) / 2)
        axes.set_ylim(3 * low, 3 * high)
    else:
        axes.set_ylim(min(1.1 * low, 0), max(1.1 * high, 0) or 1)
    axes.set_xlim(-0.08 * len(rank) - 0.5, 1.08 * len(rank) - 0.5)
    label_integers(axes)
    axes.set(xlabel="rank", ylabel="eigenvalue (bars: residual)")
    set_heading(axes, f"loss {result.loss:.4g}, {result.parameters:,} parameters, {result.samples:,} samples")
    draw_legend(axes)


def draw_convergence(result: EigResult, axes: Axes) -> None:
    """Draws the relative residual of each value after each pass, the tolerance, and the search for skipped values."""
    count = result.ritz_values.shape[1]
    passes = np.arange(1, len(result.ritz_values) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = result.ritz_residuals / np.abs(result.ritz_values)
    relative[relative == 0] = np.nan  # an exact value has no place on a logarithmic axis
    known = np.isfinite(result.ritz_values).any(axis=1)  # with many vectors they are not computed after every pass
    for rank, color in enumerate(shades(count)):
        named = count <= MAX_NAMED
        line = series_style(rank).line if named else "-"
        label = f"rank {rank}" if named else None
        axes.plot(passes[known], relative[known, rank], color=color, linestyle=line, linewidth=1.2, label=label)
    axes.axhline(result.tol, color=GREY, linestyle="--", linewidth=1, label="tolerance")
    searched = result.search_products if result.search_passes is None else result.search_passes
    if searched:
        first = len(passes) - searched
        axes.axvspan(
            first + 0.5,
            len(passes) + 0.5,
            color=GREY,
            alpha=0.15,
            linewidth=0,
            zorder=0,
            label="search for skipped values",
        )
    label_integers(axes)
    several = result.products > len(passes)
    axes.set(xlabel="passes over the data" if several else "Hessian-vector products", ylabel="residual / |eigenvalue|")
    set_heading(axes, "convergence")
    if np.isfinite(relative).any():
        axes.set_yscale("log")
    draw_legend(axes)
    if count > MAX_NAMED:
        draw_shades_bar(axes, count, "rank")
