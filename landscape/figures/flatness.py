"""First-order flatness against the radius with its quadratic law, what each ascent found, and the layers' shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.curves import draw_ascents, law_radii, line_style, set_log_axes
from landscape.figures.style import BLUE, GREEN, GREY, ORANGE, draw_layer_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.neighborhood.flatness import FlatnessResult


def panels(result: FlatnessResult) -> int:
    """One for the curves, one for several ascents, and one for layers if there are any."""
    return 1 + (len(result.start) > 1) + (result.layer is not None)


def draw(result: FlatnessResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Draws r1 and r0 with their laws, the ascents if there were several, and the layers if there are any."""
    _draw_curves(result, axes[0])
    if len(result.start) > 1:
        rises = result.excess * result.rho
        draw_ascents(
            axes[1], result.start, result.start_rises, rises, result.rho, "rise of the gradient in each ascent"
        )
    if result.layer is not None:
        draw_layer_bars(axes[-1], result.layer, result.layer_share, None, "share in slope times move")


def _draw_curves(result: FlatnessResult, axes: Axes) -> None:
    radii = law_radii(result.rho)
    axes.plot(
        result.rho, result.r1, line_style(result.rho, "o"), color=BLUE, markersize=5, label=r"$R_1$ (lower bound)"
    )
    axes.plot(result.rho, result.gam_r1, "v", color=GREEN, markersize=5, label=r"GAM's one step towards $R_1$")
    axes.plot(
        result.rho,
        result.r0,
        line_style(result.rho, "s"),
        color=ORANGE,
        markersize=4.5,
        label=r"$R_0$, rise of the loss",
    )
    axes.plot(radii, result.lambda_1 * radii**2, "--", color=BLUE, linewidth=1, label=r"$\lambda_1 \rho^2$")
    axes.plot(radii, result.scaled_gradient * radii, ":", color=GREY, linewidth=1.5, label=r"$\rho\,\|c\,g\|$")
    set_log_axes(axes, result.rho, np.concatenate([result.r1, result.r0]))
    axes.set_xlabel(r"radius $\rho$")
    axes.set_ylabel("flatness")
    axes.set_title(f"loss {result.loss:.4g}, $\\lambda_1$ {result.lambda_1:.4g}", fontsize=10)
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="upper left")
