"""The losses along the chains with the burn-in shaded, and the estimate with its interval by the number of draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.choices import NORMAL_HALF_WIDTH
from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.llc.llc import LlcResult

FROM_CHECKPOINT, FROM_RANDOM = BLUE, ORANGE


def panels(result: LlcResult) -> int:
    """One for the chains, one for the estimate, and one for the layers if there are any."""
    return 2 + (result.layer is not None)


def draw(result: LlcResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws the chains, the running estimate, and the coefficients of layers if there are any."""
    draw_chains(result, axes[0])
    draw_running(result, axes[1])
    if result.layer is not None:
        draw_layer_bars(axes[2], result.layer, result.layer_llc, result.layer_llc_se, "refined coefficient")


def draw_chains(result: LlcResult, axes: Axes) -> None:
    """Draws n beta (L - L(theta)) at every draw of each chain, colored by its start, and shades the burn-in."""
    places = np.arange(1, result.excess.shape[1] + 1)
    named = set()
    for start, values in zip(result.chain, result.excess, strict=True):
        color = FROM_CHECKPOINT if start == "checkpoint" else FROM_RANDOM
        label = None if start in named else f"from {'the checkpoint' if start == 'checkpoint' else 'random points'}"
        named.add(start)
        axes.plot(places, values, color=color, linewidth=0.6, alpha=0.7, label=label)
    if result.burn_in:
        axes.axvspan(0, result.burn_in, color=GREY, alpha=0.3, linewidth=0, label="burn-in")
    axes.margins(y=0.2)  # room for the legend
    axes.set(xlim=(0, len(places)), xlabel="draw", ylabel="n beta (L - L(theta))")
    axes.set_title(f"{len(result.chain)} chains, R-hat {result.r_hat:.3f}", fontsize=10)
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")


def draw_running(result: LlcResult, axes: Axes) -> None:
    """Draws the estimate and its 95 % interval by the number of draws, and the last one as a line."""
    half = NORMAL_HALF_WIDTH * result.running_se
    draws, value = result.running_draws, result.running_llc
    axes.fill_between(draws, value - half, value + half, color=BLUE, alpha=0.25, linewidth=0, label="95 % interval")
    axes.plot(draws, value, color=BLUE, linewidth=1.4, label="estimate")
    axes.axhline(result.llc, color=GREY, linestyle=":", linewidth=1)
    if result.burn_in:
        axes.axvspan(0, result.burn_in, color=GREY, alpha=0.3, linewidth=0, label="burn-in")
    axes.set(xlim=(0, result.draws), xlabel="draws of each chain", ylabel="local learning coefficient")
    title = f"{result.llc:.4g} ({result.lower:.4g} to {result.upper:.4g}), gamma {result.gamma:.3g}"
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")
