"""The loss along an update: the points evaluated, the critical step and its interval by the choice of the samples."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.choices import NORMAL_HALF_WIDTH
from landscape.figures.style import BLUE, GREEN, GREY, ORANGE
from landscape.figures.texts import draw_legend, set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.critical.result import CriticalResult
    from landscape.figures.look import Context
    from landscape.figures.registry import Panels

REACH = 1.25  # times the critical step, and the end of its interval: steps beyond are not drawn
CURVE_POINTS = 200  # of the line through the points


def panels(result: CriticalResult, context: Context) -> Panels:
    """The change of the loss at each step with its 95 % interval, and the critical step with its own."""
    return {"loss": partial(draw_change, result)}


def draw_change(result: CriticalResult, panel: Axes) -> None:
    """Draws the change of the loss along the update."""
    end = _end(result)
    shown = (result.point_step <= end) & np.isfinite(result.point_change)
    steps, changes = result.point_step[shown], result.point_change[shown]
    errors = None if result.point_change_error is None else NORMAL_HALF_WIDTH * result.point_change_error[shown]
    panel.axhline(0, color=GREY, linewidth=0.8)
    _draw_curve(panel, result, end)
    panel.errorbar(
        steps, changes, errors, fmt="o", color=BLUE, markersize=5, elinewidth=1.2, capsize=3,
        label="evaluated" + (" (bars: 95 %)" if errors is not None else ""),
    )  # fmt: skip
    _draw_step(panel, result, end)
    panel.set_xlim(0, end)
    panel.set_xlabel("step along the update")
    panel.set_ylabel("change of the loss")
    set_heading(panel, _title(result, len(result.point_step) - len(steps)))
    draw_legend(panel)


def _end(result: CriticalResult) -> float:
    """The largest step that is drawn: around the critical step, or all of them where it is not known."""
    if not math.isfinite(result.critical_step):
        return 1.05 * float(result.point_step.max(initial=0.0)) or 1.0
    ends = [result.critical_step, *([] if result.interval is None else result.interval.tolist())]
    rates = [result.learning_rate] if result.learning_rate and result.learning_rate < 4 * result.critical_step else []
    return float(REACH * max(end for end in [*ends, *rates] if math.isfinite(end)))


def _draw_curve(panel: Axes, result: CriticalResult, end: float) -> None:
    """A line through the points, on which the change per unit of step is interpolated linearly."""
    finite = np.isfinite(result.point_change)
    steps, changes = result.point_step[finite], result.point_change[finite]
    if not len(steps):
        return
    begin = changes[0] / steps[0] if result.slope is None else result.slope
    places, slopes = np.concatenate([[0.0], steps]), np.concatenate([[begin], changes / steps])
    line = np.linspace(0.0, min(end, float(steps[-1])), CURVE_POINTS)
    panel.plot(line, line * np.interp(line, places, slopes), color=BLUE, linewidth=1.2, alpha=0.6)


def _draw_step(panel: Axes, result: CriticalResult, end: float) -> None:
    """The critical step, its interval, and the learning rate of the run."""
    if math.isfinite(result.critical_step):
        panel.axvline(
            result.critical_step, color=ORANGE, linewidth=1.5, label=f"critical step {result.critical_step:.4g}"
        )
        if result.interval is not None:
            low, high = result.interval.tolist()
            panel.axvspan(low, min(high, end), color=ORANGE, alpha=0.15, linewidth=0, label="its 95 % interval")
    if result.learning_rate and result.learning_rate <= end:
        label = f"learning rate {result.learning_rate:.4g}"
        panel.axvline(result.learning_rate, color=GREEN, linestyle="--", linewidth=1.2, label=label)


def _title(result: CriticalResult, left_out: int) -> str:
    """The critical sharpness, the passes, and how many points lie outside the panel."""
    known = math.isfinite(result.critical_step)
    words = f"critical sharpness {result.critical_sharpness:.4g}" if known else "no critical step found"
    beyond = f"\n{left_out} of {len(result.point_step)} points lie beyond, or are not finite" if left_out else ""
    return f"{words}, {result.passes} forward passes{beyond}"
