"""The picture of a critical step: points with their errors, the step, its interval and the learning rate."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape.analyses.critical.result import CriticalResult
from landscape.figures import draw
from landscape.figures.registry import panel_count


@pytest.fixture
def result() -> CriticalResult:
    """A parabola that crosses at 1."""
    steps = np.array([0.5, 0.99, 1.01, 30.0])
    return CriticalResult(
        critical_step=1.0, critical_step_se=0.1, critical_sharpness=2.0, critical_sharpness_se=0.2,
        interval=np.array([0.8, 1.2]), bracket=np.array([0.99, 1.01]), tol=0.05, passes=6, slope=-1.0, update_norm=1.0,
        relative_step=0.1, largest_drop=0.25, rounding=1e-6, loss=1.0, gradient_norm=1.0, parameters=10, samples=5,
        point_step=steps, point_change=steps**2 - steps, point_change_error=np.full(4, 0.05),
    )  # fmt: skip


def drawn(result: CriticalResult) -> tuple[set[str], str, float]:
    """The words of the legend, the title, and the right end of the horizontal axis."""
    figure, axes = plt.subplots(1, panel_count(result), squeeze=False)
    draw(result, axes[0])
    words = {text.get_text() for text in axes[0][0].get_legend().get_texts()}
    title, end = axes[0][0].get_title(), axes[0][0].get_xlim()[1]
    figure.canvas.draw()
    plt.close(figure)
    return words, title, end


def test_the_step_and_its_interval_are_drawn(result: CriticalResult) -> None:
    words, title, end = drawn(result)
    assert words == {"critical step 1", "its 95 % interval", "evaluated (bars: 95 %)"}
    assert title == "critical sharpness 2, 6 forward passes\n1 of 4 points lie beyond, or are not finite"
    assert end == pytest.approx(1.5)


def test_the_line_through_the_points_is_the_parabola(result: CriticalResult) -> None:
    figure, axes = plt.subplots()
    draw(result, [axes])
    line = next(one for one in axes.get_lines() if len(one.get_xdata()) > 100)
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    plt.close(figure)
    np.testing.assert_allclose(y, x**2 - x, atol=1e-12)


def test_the_learning_rate_is_drawn_near_the_step(result: CriticalResult) -> None:
    assert "learning rate 0.9" in drawn(replace(result, learning_rate=0.9, edge=2 / 0.9, edge_ratio=0.9))[0]
    assert not any("rate" in word for word in drawn(replace(result, learning_rate=50.0, edge=0.04))[0])


def test_without_samples_there_are_no_bars(result: CriticalResult) -> None:
    words, _, _ = drawn(replace(result, interval=None, critical_step_se=None, point_change_error=None))
    assert words == {"critical step 1", "evaluated"}


@pytest.mark.parametrize("change", [math.nan, math.inf], ids=["nan", "infinity"])
def test_an_unknown_step_is_drawn_with_its_points(result: CriticalResult, change: float) -> None:
    changes = np.array([-0.25, change, change, change])
    unknown = replace(result, critical_step=math.nan, critical_sharpness=math.nan, point_change=changes)
    words, title, _ = drawn(replace(unknown, interval=np.full(2, math.nan)))
    assert title.startswith("no critical step found")
    assert "critical step nan" not in words


def test_an_open_interval_ends_with_the_panel(result: CriticalResult) -> None:
    assert drawn(replace(result, interval=np.array([0.0, math.inf])))[2] == pytest.approx(1.25)
