"""First-order flatness against the radius with its quadratic law, what each ascent found, and the layers' shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.curves import draw_ascents, law_radii, line_style, set_log_axes
from landscape.figures.style import BLUE, GREEN, GREY, ORANGE, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.neighborhood.flatness import FlatnessResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels


def panels(result: FlatnessResult, context: Context) -> Panels:
    """r1 and r0 with their laws, the ascents if there were several, and the layers if there are any."""
    found: dict[str, Callable[[Axes], None]] = {"curve": partial(_draw_curves, result)}
    if len(result.start) > 1:
        found["ascents"] = partial(
            draw_ascents, names=result.start, rises=result.start_rises, best=result.excess * result.rho,
            radii=result.rho, what="rise of the gradient in each ascent",
        )  # fmt: skip
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_share, errors=None,
            label="share in slope times move",
        )  # fmt: skip
    return found


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
    set_heading(axes, f"loss {result.loss:.4g}, $\\lambda_1$ {result.lambda_1:.4g}")
    draw_legend(axes)
