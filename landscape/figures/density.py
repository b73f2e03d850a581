"""The density of eigenvalues on a logarithmic axis, with its band and the exact top eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.density import DensityResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

BAND_HEADROOM = 10  # the axis ends at so many times the tallest peak, however wide the band is
DECADES_BELOW = 1.5  # the axis begins so far below the peak of a single eigenvalue: lower densities are tails


def panels(result: DensityResult, context: Context) -> Panels:
    """The density, with ticks for the eigenvalues of `eig` beside it, and the traces of layers if there are any."""
    found: dict[str, Callable[[Axes], None]] = {"density": partial(draw_density, result, eig=context.beside.get("eig"))}
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_trace, errors=result.layer_trace_se,
            label="trace of the block",
        )  # fmt: skip
    return found


def draw_density(result: DensityResult, axes: Axes, eig: Any) -> None:
    """Draws the density on a logarithmic axis, its band, the peak of a single eigenvalue, and the ticks of `eig`."""
    single = 1 / (result.parameters * result.width * np.sqrt(2 * np.pi))
    tallest = float(np.nanmax(result.density))
    low, high = result.density_band if result.density_band is not None else (result.density, result.density)
    bottom, top = single / 10**DECADES_BELOW, 3 * float(np.clip(np.nanmax(high), tallest, BAND_HEADROOM * tallest))
    low, high = (np.clip(edge, bottom / 10, 10 * top) for edge in (low, high))  # the visible part
    if result.density_band is not None:  # results of earlier versions hold none
        axes.fill_between(result.grid, low, high, color=BLUE, alpha=0.25, linewidth=0, label="95 % band")
    axes.plot(result.grid, np.maximum(result.density, bottom / 10), color=BLUE, linewidth=1.4, label="density")
    axes.axhline(single, color=GREY, linestyle=":", linewidth=1, label="peak of a single eigenvalue")
    if eig is not None:
        axes.plot(
            eig.eigenvalues, np.full(len(eig.eigenvalues), 0.02), "|", markersize=12, markeredgewidth=1.5,
            color=ORANGE, transform=axes.get_xaxis_transform(), label=f"{len(eig.eigenvalues)} eigenvalues of eig",
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.set(xlabel="eigenvalue", ylabel="density of eigenvalues")
    probes, steps = result.ritz_nodes.shape
    set_heading(axes, f"{probes} probes x {steps} steps, {result.parameters:,} parameters")
    draw_legend(axes)
