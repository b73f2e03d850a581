"""The error of the control variate's slope, where values depend on the control by a line and by a curve."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analyses.llc.estimates import _slope, _slope_error

RANDOM = np.random.default_rng(0)
CONTROL = RANDOM.normal(size=(4, 500))


def test_the_slope_of_a_line_has_no_error() -> None:
    assert _slope(3 * CONTROL + 1, CONTROL) == pytest.approx(3)
    assert _slope_error(3 * CONTROL + 1, CONTROL) == pytest.approx(0, abs=1e-12)


def test_the_error_is_the_scatter_of_slopes_over_runs() -> None:
    slopes, errors = [], []
    for _ in range(300):
        control = RANDOM.normal(size=(6, 100))
        values = control + RANDOM.normal(size=control.shape)
        slopes.append(_slope(values, control))
        errors.append(_slope_error(values, control))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(slopes), rel=0.15)


def test_chains_at_different_places_of_a_curve_make_the_slope_uncertain() -> None:
    places = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    assert _slope_error((CONTROL + places) ** 2, CONTROL + places) > 1  # slopes of 2 x at these places


@pytest.mark.parametrize("control", [CONTROL[:1], np.zeros((4, 9))], ids=["one chain", "a constant"])
def test_one_chain_and_a_constant_control_have_no_error(control: np.ndarray) -> None:
    assert _slope_error(np.ones_like(control), control) == 0
