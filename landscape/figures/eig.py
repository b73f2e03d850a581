"""The spectrum with residual bars, and the convergence of each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.eig import EigResult

PANELS = 2
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"  # Okabe and Ito: told apart by everyone


def draw(result: EigResult, axes: Sequence[Axes]) -> None:
    """Eigenvalues by rank on `axes[0]`, relative residuals by product on `axes[1]`."""
    spectrum(result, axes[0])
    convergence(result, axes[1])


def spectrum(result: EigResult, axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    rank = np.arange(len(result.eigenvalues))
    for mask, colour, label in (
        (result.converged, BLUE, "converged"),
        (~result.converged, ORANGE, "not converged"),
    ):
        if mask.any():
            axes.errorbar(
                rank[mask], result.eigenvalues[mask], yerr=result.residuals[mask],
                fmt="o", markersize=5, capsize=3, color=colour, label=label,
            )  # fmt: skip
    if result.pyhessian_eigenvalues is not None:
        axes.plot(rank, result.pyhessian_eigenvalues, "x", color=GREY, label="PyHessian")
    if np.nanmin(result.eigenvalues) < 0:
        axes.axhline(0, color=GREY, linewidth=0.8)
    else:
        axes.set_ylim(bottom=0, top=1.1 * float(np.nanmax(result.eigenvalues + result.residuals)) or 1)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        xlabel="rank", ylabel="eigenvalue (bars: residual)", title=f"loss {result.loss:.4g}, P = {result.parameters:,}"
    )
    axes.legend(frameon=False)


def convergence(result: EigResult, axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    products = np.arange(1, len(result.ritz_values) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = result.ritz_residuals / np.abs(result.ritz_values)
    relative[relative == 0] = np.nan  # exact: no place on a logarithmic axis
    colours = _shades(relative.shape[1])
    for rank in range(relative.shape[1]):
        axes.plot(products, relative[:, rank], color=colours[rank], linewidth=1.1)
    if result.search_products:
        first = len(result.ritz_values) - result.search_products
        axes.axvspan(first + 0.5, len(result.ritz_values) + 0.5, color="0.92", label="search for skipped values")
        axes.legend(frameon=False, loc="upper right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="Hessian-vector products", ylabel="residual / |eigenvalue|", title="convergence (dark: rank 0)")
    if np.isfinite(relative).any():
        axes.set_yscale("log")


def _shades(count: int) -> np.ndarray:
    from matplotlib import colormaps

    shades: np.ndarray = colormaps["viridis"](np.linspace(0, 0.9, count))
    return shades
