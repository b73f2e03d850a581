"""The panels of populations: bars in order, the line of all samples, and heat maps with readable numbers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.figures.populations import MAX_CELLS, draw_bars, draw_cosines
from landscape.figures.style import MAX_BARS


def test_bars_are_in_order_beside_the_value_of_all_samples() -> None:
    axes = Figure().subplots()
    draw_bars(axes, np.array(["a", "b<$>", "c"]), np.array([1.0, 3.0, -2.0]), np.array([0.1, 0.2, 0.3]), 1.5, "trace")
    assert [bar.get_width() for bar in axes.patches] == [3.0, 1.0, -2.0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b<$>", "a", "c"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_label() == "all samples"] == [1.5]


def test_more_populations_than_can_be_named_are_said() -> None:
    axes = Figure().subplots()
    names = np.array([f"class-{index}" for index in range(40)])
    draw_bars(axes, names, np.arange(40.0), None, 1.0, "loss")
    assert len(axes.patches) == MAX_BARS
    assert axes.get_title() == f"{MAX_BARS} of 40 populations"


@pytest.mark.parametrize(("count", "numbers"), [(3, 9), (MAX_CELLS + 1, 0)])
def test_heat_maps_have_numbers_where_they_can_be_read(count: int, numbers: int) -> None:
    axes = Figure().subplots()
    cosines = np.eye(count) - 0.04 * (1 - np.eye(count))
    draw_cosines(axes, np.array([str(index) for index in range(count)]), cosines, "cosine of gradients")
    assert len(axes.texts) == numbers
    assert {text.get_text() for text in axes.texts} <= {"1.0", "0.0"}  # no minus before 0.0
    assert axes.images[0].get_clim() == (-1, 1)
