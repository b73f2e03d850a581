"""Rises of the loss against the radius with their small-rho laws, what each ascent found, and the layers' shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.curves import draw_ascents, law_radii, line_style, set_log_axes
from landscape.figures.populations import population_panels
from landscape.figures.style import BLUE, GREY, ORANGE, draw_layer_bars
from landscape.figures.texts import draw_legend, set_heading, set_label

LEVEL_REACH = 30.0  # the loss and the rounding are drawn as levels only within this factor of the highest rise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels


def panels(result: SharpnessResult, context: Context) -> Panels:
    """The rises with their laws, the ascents if there were several, and layers and populations if there are any."""
    found: dict[str, Callable[[Axes], None]] = {"curve": partial(_draw_curves, result)}
    if result.start is not None and len(result.start) > 1:
        found["ascents"] = partial(_draw_ascents, result)
    if result.layer is not None:
        found["layers"] = partial(
            draw_layer_bars, names=result.layer, values=result.layer_share, errors=None,
            label="share in slope times move",
        )  # fmt: skip
    return {**found, **_population_panels(result)}


def _draw_ascents(result: SharpnessResult, axes: Axes) -> None:
    assert result.start is not None
    assert result.start_rises is not None
    assert result.s_max is not None
    what = "rise in each ascent"
    draw_ascents(axes, result.start, result.start_rises, result.s_max, result.rho, what)


def _population_panels(result: SharpnessResult) -> Panels:
    """The rises of each population at the largest radius: on average if that was measured, else at the worst."""
    if result.population_s_avg is not None and result.s_avg is not None:
        errors = result.population_s_avg_se
        error = None if errors is None else errors[-1]
        return population_panels(result, result.population_s_avg[-1], error, float(result.s_avg[-1]), "s_avg")
    if result.population_s_max is not None and result.s_max is not None:
        return population_panels(result, result.population_s_max[-1], None, float(result.s_max[-1]), "s_max")
    return {}


def _draw_curves(result: SharpnessResult, axes: Axes) -> None:
    rises = [*_draw_worst_case(result, axes), *_draw_average_case(result, axes)]
    highest = float(np.nanmax(np.concatenate(rises)))
    followed = [] if result.radius is None else [result.radius]
    noise = followed or ([] if result.average_rho is None else [result.average_rho])
    balls = followed or ([] if result.s_max is None else [result.rho])
    set_log_axes(axes, np.concatenate([*balls, *noise]), np.concatenate(rises))
    for level, name, style in ((result.loss, "loss", "-"), (result.rounding, "rounding", "-.")):
        if highest / LEVEL_REACH < level < highest * LEVEL_REACH:
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle=style, label=name)
    set_label(axes, "x", r"radius of the ball, or size of the noise, $\rho$")
    axes.set_ylabel("rise of the mean loss")
    set_heading(axes, f"loss {result.loss:.4g}, batches of {result.m:,} of {result.samples:,} samples")
    draw_legend(axes, 2)


def _draw_worst_case(result: SharpnessResult, axes: Axes) -> list[np.ndarray]:
    """Draws s_max with its law, unresolved points hollow; returns the rises, if they were measured."""
    if result.s_max is None:
        return []
    axes.plot(
        result.rho, result.s_max, line_style(result.rho, "o"), color=BLUE, markersize=5,
        label="s_max, worst case (lower bound)",
    )  # fmt: skip
    rises = _draw_curve_points(result, axes, result.radius_s_max, None, BLUE)
    radii, curvature = law_radii(_all_radii(result, result.rho)), max(result.scaled_curvature or 0.0, 0.0)
    linear = float(result.scaled_gradient or 0.0)
    is_l2 = result.s_max_law is not None and not np.allclose(result.s_max_law, result.rho * linear)
    law = radii * linear + (radii**2 * curvature / 2 if is_l2 else 0.0)
    label = r"$\rho\,\|c\,g\|_*" + (r" + \rho^2 \lambda / 2$" if is_l2 else "$")
    axes.plot(radii, law, "--", color=BLUE, linewidth=1, alpha=0.7, label=label)
    unresolved = ~result.resolved
    if unresolved.any():
        axes.plot(result.rho[unresolved], result.s_max[unresolved], "o", color="white", markersize=2.5)
    return [result.s_max, *rises]


def _draw_average_case(result: SharpnessResult, axes: Axes) -> list[np.ndarray]:
    """Draws s_avg with its intervals and its law; returns the rises, if they were measured."""
    if result.s_avg is None or result.s_avg_interval is None or result.average_rho is None:
        return []
    half = np.ptp(result.s_avg_interval, axis=1) / 2
    axes.errorbar(
        result.average_rho, result.s_avg, yerr=half, fmt=line_style(result.rho, "s"), color=ORANGE, markersize=4.5,
        capsize=3, label="s_avg, mean under noise (95 %)",
    )  # fmt: skip
    if result.s_avg_law is not None:
        radii = law_radii(_all_radii(result, result.average_rho))
        law = result.s_avg_law[0] * (radii / result.average_rho[0]) ** 2
        label = r"$\rho^2 \mathrm{tr}(CHC) / 2$"
        axes.plot(radii, law, ":", color=ORANGE, linewidth=1.5, alpha=0.8, label=label)
    interval = result.radius_s_avg_interval
    return [result.s_avg, *_draw_curve_points(result, axes, result.radius_s_avg, interval, ORANGE)]


def _draw_curve_points(
    result: SharpnessResult, axes: Axes, rises: np.ndarray | None, interval: np.ndarray | None, color: str
) -> list[np.ndarray]:
    """Draws the rises at the radii of the curve, smaller than the point at rho; returns them, if they were measured."""
    if result.radius is None or rises is None:
        return []
    others = ~np.isin(result.radius, result.rho)
    axes.plot(result.radius, rises, "-", color=color, linewidth=1.2)
    axes.plot(result.radius[others], rises[others], ".", color=color, markersize=7)
    if interval is not None:
        half = np.ptp(interval, axis=1)[others] / 2
        axes.errorbar(result.radius[others], rises[others], yerr=half, fmt="none", ecolor=color, capsize=3)
    return [rises]


def _all_radii(result: SharpnessResult, own: np.ndarray) -> np.ndarray:
    """The radii along which laws are drawn: those of the curve, or without one the measured ones."""
    return own if result.radius is None else result.radius
