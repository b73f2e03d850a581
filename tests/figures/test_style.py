"""Colors of populations, and bars by layer."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from landscape.figures.style import BLUE, MAX_BARS, ORANGE, OTHER_POPULATIONS, draw_layer_bars, population_color


def test_a_population_whose_name_has_a_meaning_has_its_own_color() -> None:
    assert population_color("memorized", 3) == population_color("memorized", 0) == ORANGE


def test_other_populations_have_different_colors_that_repeat() -> None:
    colors = [population_color(f"set {place}", place) for place in range(len(OTHER_POPULATIONS) + 1)]
    assert len(set(colors)) == len(OTHER_POPULATIONS)
    assert colors[0] == colors[-1]


def test_bars_stand_in_order_with_negative_ones_in_orange() -> None:
    axes = Figure().subplots()
    draw_layer_bars(axes, np.array(["a", "b", "c"]), np.array([2.0, 1.0, -1.0]), np.array([0.1, 0.1, 0.1]), "trace")
    assert [bar.get_width() for bar in axes.patches] == [2.0, 1.0, -1.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [BLUE, BLUE, ORANGE]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.yaxis_inverted()  # the first on top
    assert (axes.get_xlabel(), axes.get_title()) == ("trace", "by block")


@pytest.mark.parametrize("count", [MAX_BARS, MAX_BARS + 1])
def test_layers_beyond_the_last_bar_are_counted_in_the_title(count: int) -> None:
    axes = Figure().subplots()
    draw_layer_bars(axes, np.array([str(i) for i in range(count)]), np.ones(count), None, "trace")
    assert len(axes.patches) == MAX_BARS
    assert axes.get_title() == ("by block" if count == MAX_BARS else f"{MAX_BARS} of {count} blocks")
