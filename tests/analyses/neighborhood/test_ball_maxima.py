"""The summary of the ascents on several parts of the data."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analyses.neighborhood.ball_maxima import BallMaxima


def found(rises: list[list[list[float]]], weights: tuple[float, ...] = (1.0, 1.0)) -> BallMaxima:
    values = np.array(rises, dtype=float)
    parts, radii = values.shape[:2]
    zero = np.zeros(parts)
    stationarity = np.where(np.isnan(values), np.nan, 0.5)
    stationarity[..., 0] = 0.1
    return BallMaxima(
        weights=np.array(weights[:parts]),
        duals=zero,
        curvatures=zero,
        rises=values,
        stationarity=stationarity,
        one_step=np.zeros((parts, radii)),
        shares=np.zeros((parts, 0)),
        evaluations=0,
    )


def test_the_center_is_in_the_ball() -> None:
    assert found([[[-1.0, -2.0]]]).largest().tolist() == [[0.0]]


def test_hits_and_mode_are_those_of_the_worst_part() -> None:
    both = found([[[1.0, 1.0, 0.995]], [[1.0, 0.9, 0.995]]])
    assert both.hits().tolist() == [2]
    assert both.modes().tolist() == ["multimodal"]
    assert found([[[1.0, 1.0, 0.995]]]).modes().tolist() == ["unique"]
    assert found([[[1.0]]]).modes().tolist() == ["one start"]


def test_means_are_weighted_and_spreads_relative() -> None:
    both = found([[[1.0, 0.5]], [[3.0, 3.0]]], weights=(3.0, 1.0))
    assert both.mean(both.largest()).tolist() == [1.5]
    assert both.spread()[0] == pytest.approx(0.75 * 0.5)
    assert both.best_stationarity().tolist() == [0.1]


def test_starts_that_were_not_there_do_not_count() -> None:
    curve = found([[[1.0, 1.0, np.nan], [2.0, 2.0, 2.0]]])
    assert curve.count_starts().tolist() == [2, 3]
    assert curve.hits().tolist() == [2, 3]
    assert curve.spread().tolist() == [0, 0]


def test_a_value_that_is_no_number_is_not_passed_over() -> None:
    broken = found([[[1.0, 1.0]]])
    broken.rises[0, 0, 1] = np.nan
    assert np.isnan(broken.largest()).all()
    broken.rises[0, 0, 1] = np.inf
    assert np.isinf(broken.largest()).all()
