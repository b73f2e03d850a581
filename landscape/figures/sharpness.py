"""Rises of the loss against the radius with their small-rho laws, what each ascent found, and the layers' shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.curves import draw_ascents, law_radii, line_style, set_log_axes
from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars

FAR = 30.0  # a level further away from the highest point is not shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.neighborhood.sharpness_result import SharpnessResult


def panels(result: SharpnessResult) -> int:
    return 1 + _several(result) + (result.layer is not None)


def draw(result: SharpnessResult, axes: Sequence[Axes], beside: Mapping[str, Any]) -> None:  # noqa: ARG001
    """The curves, the ascents if there were several, and the layers if asked for."""
    _draw_curves(result, axes[0])
    if _several(result):
        assert result.start is not None
        assert result.start_rises is not None
        assert result.s_max is not None
        draw_ascents(
            axes[1], result.start, result.start_rises, result.s_max, result.rho, "rise of the loss in each ascent"
        )
    if result.layer is not None:
        draw_layer_bars(axes[-1], result.layer, result.layer_share, None, "share in slope times move")


def _draw_curves(result: SharpnessResult, axes: Axes) -> None:
    drawn = []
    if result.s_max is not None:
        drawn.append(result.s_max)
        axes.plot(
            result.rho, result.s_max, line_style(result.rho, "o"), color=BLUE, markersize=5,
            label="s_max, worst case (lower bound)",
        )  # fmt: skip
        radii, curvature = law_radii(result.rho), max(result.scaled_curvature or 0.0, 0.0)
        linear = float(result.scaled_gradient or 0.0)
        round_ball = result.s_max_law is not None and not np.allclose(result.s_max_law, result.rho * linear)
        law = radii * linear + (radii**2 * curvature / 2 if round_ball else 0.0)
        label = r"$\rho\,\|c\,g\|_*" + (r" + \rho^2 \lambda / 2$" if round_ball else "$")
        axes.plot(radii, law, "--", color=BLUE, linewidth=1, alpha=0.7, label=label)
        if not result.resolved.all():
            low = ~result.resolved
            axes.plot(result.rho[low], result.s_max[low], "o", color="white", markersize=2.5)
    if result.s_avg is not None and result.s_avg_interval is not None and result.average_rho is not None:
        drawn.append(result.s_avg)
        half = np.ptp(result.s_avg_interval, axis=1) / 2
        axes.errorbar(
            result.average_rho, result.s_avg, yerr=half, fmt=line_style(result.rho, "s"), color=ORANGE, markersize=4.5,
            capsize=3,            label="s_avg, mean under noise (95 %)",
        )  # fmt: skip
        if result.s_avg_law is not None:
            radii = law_radii(result.average_rho)
            law = result.s_avg_law[0] * (radii / result.average_rho[0]) ** 2
            axes.plot(
                radii, law, ":", color=ORANGE, linewidth=1.5, alpha=0.8, label=r"half the trace of $CHC$ times variance"
            )
    highest = float(np.nanmax(np.concatenate(drawn)))
    noise = [] if result.average_rho is None else [result.average_rho]
    balls = [] if result.s_max is None else [result.rho]
    set_log_axes(axes, np.concatenate([*balls, *noise]), np.concatenate(drawn))
    for level, name, line in ((result.loss, "loss", "-"), (result.rounding, "rounding", "-.")):
        if highest / FAR < level < highest * FAR:
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=line, label=name)
    axes.set_xlabel(r"radius of the ball, or size of the noise on each weight, $\rho$", fontsize=9)
    axes.set_ylabel("rise of the mean loss")
    axes.set_title(f"loss {result.loss:.4g}, batches of {result.m:,} of {result.samples:,} samples", fontsize=10)
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="upper left")


def _several(result: SharpnessResult) -> bool:
    return result.start is not None and len(result.start) > 1
