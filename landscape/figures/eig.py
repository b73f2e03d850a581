"""The spectrum with residual bars, and the convergence of each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.populations import draw_populations, population_panels
from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars, label_integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.eig import EigResult

MAX_LEGEND_RANKS = 6  # lines that a legend can name; for more there is a color bar
LINEAR_AXIS_RATIO = 20  # of the two ends: with a larger ratio a linear axis hides the smaller end


def panels(result: EigResult) -> int:
    """Eigenvalues and convergence, and those of layers and populations if there are any."""
    return 2 + (result.layer is not None) + population_panels(result)


def draw(result: EigResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws eigenvalues by rank, relative residuals by product, and the values of layers and populations, if any."""
    draw_eigenvalues(result, axes[0])
    draw_convergence(result, axes[1])
    if result.layer is not None:
        draw_layer_bars(
            axes[2], result.layer, result.layer_eigenvalue, result.layer_residual, "leading eigenvalue of the block"
        )
    draw_populations(
        result,
        axes[2 + (result.layer is not None) :],
        result.population_eigenvalue,
        result.population_residual,
        float(result.eigenvalues.max()),
        "largest eigenvalue (bars: residual)",
    )


def draw_eigenvalues(result: EigResult, axes: Axes) -> None:
    """Draws the eigenvalues with residuals as bars, and PyHessian's values if the result holds them."""
    values, rank = result.eigenvalues, np.arange(len(result.eigenvalues))
    for mask, color, label in (
        (result.converged, BLUE, "converged"),
        (~result.converged, ORANGE, "not converged"),
    ):
        if mask.any():
            axes.errorbar(
                rank[mask], values[mask], yerr=result.residuals[mask],
                fmt="o", markersize=5, elinewidth=1.5, color=color, label=label,
            )  # fmt: skip
    if result.pyhessian_eigenvalues is not None:
        axes.plot(rank, result.pyhessian_eigenvalues, "x", color=GREY, label="PyHessian")
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
    axes.set_title(f"loss {result.loss:.4g}, {result.parameters:,} parameters, {result.samples:,} samples", fontsize=10)
    axes.legend(frameon=False)


def draw_convergence(result: EigResult, axes: Axes) -> None:
    """Draws the relative residual of each value after each pass, the tolerance, and the search for skipped values."""
    count = result.ritz_values.shape[1]
    passes = np.arange(1, len(result.ritz_values) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = result.ritz_residuals / np.abs(result.ritz_values)
    relative[relative == 0] = np.nan  # an exact value has no place on a logarithmic axis
    known = np.isfinite(result.ritz_values).any(axis=1)  # with many vectors they are not computed after every pass
    for rank, color in enumerate(_shades(count)):
        label = f"rank {rank}" if count <= MAX_LEGEND_RANKS else None
        axes.plot(passes[known], relative[known, rank], color=color, linewidth=1.2, label=label)
    axes.axhline(result.tol, color=GREY, linestyle="--", linewidth=1, label="tolerance")
    searched = result.search_products if result.search_passes is None else result.search_passes
    if searched:
        first = len(passes) - searched
        axes.axvspan(first + 0.5, len(passes) + 0.5, color="0.93", zorder=0, label="search for skipped values")
    label_integers(axes)
    several = result.products > len(passes)
    axes.set(xlabel="passes over the data" if several else "Hessian-vector products", ylabel="residual / |eigenvalue|")
    axes.set_title("convergence", fontsize=10)
    if np.isfinite(relative).any():
        axes.set_yscale("log")
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")
    if count > MAX_LEGEND_RANKS:
        _color_bar(axes, count)


def _shades(count: int) -> np.ndarray:
    from matplotlib import colormaps

    shades: np.ndarray = colormaps["viridis"](np.linspace(0, 0.9, count))
    return shades


def _color_bar(axes: Axes, count: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    bar = ScalarMappable(Normalize(-0.5, count - 0.5), ListedColormap(_shades(count)))
    axes.figure.colorbar(bar, ax=axes, label="rank", pad=0.02, ticks=MaxNLocator(integer=True))
