"""What the ascents on several parts of the data come to together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.analyses.neighborhood.ball_objective import BallObjective
from landscape.analyses.neighborhood.worst_case import BallSearch, maximize_in_balls

Data = tuple[Tensor, Tensor]


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


def test_the_centre_is_in_the_ball() -> None:
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


def test_a_larger_radius_goes_on_from_the_best_point_of_the_smaller_one(classification: Data) -> None:
    """A hill whose only top lies within the smaller radius: no start on the larger sphere finds it in one step."""
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    size = objective.space.size
    top = torch.zeros(size, dtype=torch.float64)
    top[0] = 0.1

    def hill(part: Objective) -> BallObjective:
        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            apart = rows - top
            return -(apart**2).sum(dim=1).numpy(), -2 * apart

        return BallObjective(-0.01, 2 * top, evaluate, 1)

    search = BallSearch("l2", (0.1, 5.0), 2, 1, None, 0)
    running = maximize_in_balls(objective, torch.ones_like(top), hill, search, (), {})
    while True:
        try:
            next(running)
        except StopIteration as end:
            result: BallMaxima = end.value
            break
    assert result.largest()[0] == pytest.approx([0.01, 0.01])
    assert result.rises[0, 1, :2].max() < 0
