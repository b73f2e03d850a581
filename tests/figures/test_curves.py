"""Curves over radii, and the rises of single ascents."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.figures.curves import MAX_TICKS, draw_ascents, law_radii, line_style, set_log_axes


def test_a_law_spans_the_radii_or_three_times_a_single_one() -> None:
    several = law_radii(np.array([0.4, 0.1, 0.2]))
    assert (several[0], several[-1]) == pytest.approx((0.1, 0.4))
    assert np.allclose(np.diff(np.log(several)), np.log(4) / 59)  # evenly spaced on a logarithmic axis
    single = law_radii(np.array([0.3]))
    assert (single[0], single[-1]) == pytest.approx((0.1, 0.9))


def test_several_points_are_joined_and_a_single_one_is_not() -> None:
    assert line_style(np.array([1.0, 2.0]), "o") == "o-"
    assert line_style(np.array([1.0]), "o") == "o"


@pytest.mark.parametrize(
    ("values", "scale"), [([1.0, np.nan], "log"), ([1.0, 0.0], "linear")], ids=["positive", "with-zero"]
)
def test_the_vertical_axis_is_logarithmic_if_all_values_allow_it(values: list[float], scale: str) -> None:
    axes = Figure().subplots()
    set_log_axes(axes, np.array([0.1, 0.2]), np.array(values))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", scale)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.2"]


def test_many_radii_have_matplotlib_s_own_ticks() -> None:
    axes = Figure().subplots()
    radii = np.geomspace(0.01, 1, MAX_TICKS + 1)
    set_log_axes(axes, radii, radii)
    assert len(axes.get_xticks()) != len(radii)


def test_ascents_are_drawn_relative_to_the_largest_rise_of_their_radius() -> None:
    axes = Figure().subplots()
    rises = np.array([[1.0, 2.0], [8.0, np.inf]])
    draw_ascents(axes, np.array(["slope", "random"]), rises, np.array([2.0, 8.0]), np.array([0.1, 0.2]), "rise")
    small, large = (line.get_xdata() for line in axes.lines)
    assert np.array_equal(small, [0.5, 1.0])
    assert large[0] == 1.0
    assert np.isnan(large[1])  # an ascent that overflowed has no place
    assert [text.get_text() for text in axes.get_yticklabels()] == ["slope", "random"]


def test_at_most_six_radii_are_drawn() -> None:
    axes = Figure().subplots()
    radii = np.linspace(1, 2, 20)
    draw_ascents(axes, np.array(["a"]), np.ones((20, 1)), np.ones(20), radii, "rise")
    assert len(axes.lines) == MAX_TICKS
