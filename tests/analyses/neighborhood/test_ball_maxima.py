"""The summary of the ascents on several parts of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.analyses.neighborhood.ball_maxima import BallMaxima, ascent_columns, random_start_note

Data = tuple[Tensor, Tensor]


def maxima_of(rises: list[list[list[float]]], weights: tuple[float, ...] = (1.0, 1.0)) -> BallMaxima:
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
        gradients=0.0,
    )


def test_the_center_is_in_the_ball() -> None:
    assert maxima_of([[[-1.0, -2.0]]]).largest().tolist() == [[0.0]]


def test_hits_and_mode_are_those_of_the_worst_part() -> None:
    both = maxima_of([[[1.0, 1.0, 0.995]], [[1.0, 0.9, 0.995]]])
    assert both.hits().tolist() == [2]
    assert both.modes().tolist() == ["multimodal"]
    assert maxima_of([[[1.0, 1.0, 0.995]]]).modes().tolist() == ["unique"]
    assert maxima_of([[[1.0]]]).modes().tolist() == ["one start"]


def test_means_are_weighted_and_spreads_relative() -> None:
    both = maxima_of([[[1.0, 0.5]], [[3.0, 3.0]]], weights=(3.0, 1.0))
    assert both.mean(both.largest()).tolist() == [1.5]
    assert both.spread()[0] == pytest.approx(0.75 * 0.5)
    assert both.best_stationarity().tolist() == [0.1]


def test_starts_that_were_not_there_do_not_count() -> None:
    curve = maxima_of([[[1.0, 1.0, np.nan], [2.0, 2.0, 2.0]]])
    assert curve.count_starts().tolist() == [2, 3]
    assert curve.hits().tolist() == [2, 3]
    assert curve.spread().tolist() == [0, 0]


def test_a_value_that_is_no_number_is_not_passed_over() -> None:
    broken = maxima_of([[[1.0, 1.0]]])
    broken.rises[0, 0, 1] = np.nan
    assert np.isnan(broken.largest()).all()
    broken.rises[0, 0, 1] = np.inf
    assert np.isinf(broken.largest()).all()


def test_parts_without_eigenvectors_are_counted_where_starts_need_them() -> None:
    both = maxima_of([[[1.0, 1.0]], [[1.0, 1.0]]])
    assert random_start_note(both, requested=9) == ()
    blind = replace(both, curvatures=np.array([np.nan, 2.0]))
    assert random_start_note(blind, requested=9) == (
        "random starts take the place of eigenvectors on 1 of 2 batches: second derivatives fail there",
    )
    assert random_start_note(blind, requested=1) == ()  # a single start is the gradient's
    alone = replace(maxima_of([[[1.0]]]), curvatures=np.array([np.nan]))
    assert "eigenvectors: second" in random_start_note(alone, requested=9)[0]


def test_columns_name_the_starts_and_sort_the_layers_by_their_shares(classification: Data) -> None:
    maxima = replace(maxima_of([[[1.0, 0.5, np.nan], [2.0, 2.0, 2.0]]]), shares=np.array([[0.25, 0.75]]))
    groups = Objective(tanh_net(), [classification], "cross_entropy").space.layers()
    columns = ascent_columns(maxima, groups)
    assert columns["start"].tolist() == ["+gradient", "-gradient", "smaller rho"]
    assert columns["starts"].tolist() == [2, 3]
    assert columns["layer"].tolist() == ["2", "0"]
    assert columns["layer_share"].tolist() == [0.75, 0.25]
    assert "layer" not in ascent_columns(maxima, ())
