"""The losses along the chains with the burn-in shaded, and the estimate with its interval by the number of draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.choices import NORMAL_HALF_WIDTH
from landscape.figures.style import BLUE, GREY, YELLOW, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.llc.llc import LlcResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

FROM_CHECKPOINT, FROM_RANDOM = BLUE, YELLOW  # of unlike lightness: lines of chains are too ragged for dashes


def panels(result: LlcResult, context: Context) -> Panels:
    """The chains, the running estimate, and the coefficients of layers if there are any."""
    found: dict[str, Callable[[Axes], None]] = {
        "chains": partial(draw_chains, result),
        "estimate": partial(draw_running, result),
    }
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_llc, errors=result.layer_llc_se,
            label="refined coefficient",
        )  # fmt: skip
    return found


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
    axes.set(xlim=(0, len(places)), xlabel="draw", ylabel="n beta (L - L(theta))")
    set_heading(axes, f"{len(result.chain)} chains, R-hat {result.r_hat:.3f}")
    draw_legend(axes)


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
    set_heading(axes, title)
    draw_legend(axes)
