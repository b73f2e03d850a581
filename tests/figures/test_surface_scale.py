"""The color scale of several planes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from landscape.figures.surface_scale import loss_scale, set_log_if_wide


def test_the_scale_is_logarithmic_where_it_can_be_and_one_for_all() -> None:
    first, second = np.array([[1.0, 10.0]]), np.array([[0.1, np.nan]])
    norm = loss_scale([first, second])
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (0.1, 10)
    assert not isinstance(loss_scale([np.array([[-1.0, 2.0]])]), LogNorm)
    assert loss_scale([np.array([[1e-9, 1.0]])]).vmax == pytest.approx(1e-3)


def test_equal_losses_have_one_color_and_no_finite_loss_has_a_scale_all_the_same() -> None:
    constant = loss_scale([np.full((2, 2), 3.0)])
    assert constant(3.0) == pytest.approx(0.5)
    assert (loss_scale([np.full((2, 2), np.nan)]).vmin, loss_scale([np.full((2, 2), np.nan)]).vmax) == (0, 1)


@pytest.mark.parametrize(
    ("losses", "scale", "lines"),
    [([1.0, 20.0], "log", 0), ([1.0, 2.0], "linear", 0), ([-1.0, 2.0], "linear", 1), ([np.nan, np.nan], "linear", 0)],
    ids=["wide", "narrow", "changes-sign", "nothing-finite"],
)
def test_the_axis_of_a_line_is_logarithmic_for_positive_losses_of_a_wide_range(
    losses: list[float], scale: str, lines: int
) -> None:
    axes = Figure().subplots()
    set_log_if_wide(axes, np.array(losses))
    assert axes.get_yscale() == scale
    assert len(axes.lines) == lines
