"""Control variates of chains: what they leave, their bias by the slope, and the errors that they state."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.sampling.control_variate import ControlVariate

RANDOM = np.random.default_rng(0)
CONTROL = RANDOM.normal(size=(4, 500))


def estimate(values: np.ndarray, control: np.ndarray) -> tuple[float, float]:
    """The mean with the control variate, and its error."""
    fitted = ControlVariate.fit(values, control)
    controlled = fitted.apply(values, control)
    return float(controlled.mean()), fitted.error(controlled, values.size)


def test_of_a_line_nothing_random_is_left() -> None:
    fitted = ControlVariate.fit(3 * CONTROL + 1, CONTROL)
    assert fitted.slopes == pytest.approx(np.full(4, 3.0))
    assert fitted.slope_error == pytest.approx(0, abs=1e-12)
    assert fitted.share_left == pytest.approx(0, abs=1e-12)
    mean, error = estimate(3 * CONTROL + 1, CONTROL)
    assert mean == pytest.approx(1, abs=1e-12)
    assert error == pytest.approx(0, abs=1e-9)


def test_the_share_that_is_left_is_that_of_the_noise() -> None:
    values = CONTROL + 0.5 * RANDOM.normal(size=CONTROL.shape)
    assert ControlVariate.fit(values, CONTROL).share_left == pytest.approx(0.25 / 1.25, rel=0.1)


def test_a_slope_is_that_of_the_other_chains() -> None:
    steep = CONTROL * np.array([1.0, 1, 1, 5])[:, None]
    slopes = ControlVariate.fit(steep, CONTROL).slopes
    assert slopes[3] == pytest.approx(1)
    assert slopes[:3] == pytest.approx(np.full(3, 7 / 3), rel=0.05)


def test_heavy_tails_leave_no_bias_and_errors_are_of_the_stated_size() -> None:
    """Values that curve along a skewed control: a slope of a chain's own draws would be off by half an error."""
    means, errors = [], []
    for _ in range(400):
        control = RANDOM.exponential(size=(4, 60)) - 1
        values = control + 0.05 * control**2
        mean, error = estimate(values, control)
        means.append(mean), errors.append(error)
    off = np.array(means) - 0.05
    assert abs(off.mean()) < 3.5 * off.std() / 20
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(off.std(), rel=0.25)


def test_controlled_values_count_as_no_more_draws_than_are_allowed() -> None:
    values = CONTROL + 0.1 * RANDOM.normal(size=CONTROL.shape)
    fitted = ControlVariate.fit(values, CONTROL)
    controlled = fitted.apply(values, CONTROL)
    few, many = fitted.error(controlled, 50.0), fitted.error(controlled, 1e9)
    assert few == pytest.approx(controlled.std(ddof=1) / 50**0.5, rel=0.01)
    assert few > 3 * many


@pytest.mark.parametrize("values", [np.ones((4, 500)), CONTROL], ids=["constant values", "constant control"])
def test_what_does_not_move_is_left_as_it_is(values: np.ndarray) -> None:
    control = CONTROL if np.ptp(values) == 0 else np.zeros_like(CONTROL)
    fitted = ControlVariate.fit(values, control)
    assert fitted.share_left == 1
    np.testing.assert_allclose(fitted.apply(values, control), values)
