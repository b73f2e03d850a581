"""Forecasts of the second order against dense matrices, by groups of samples, and resumed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from analysis_contract import drained
from conftest import Splitter, tanh_net
from oracles.dense import dense_hessian
from resumed_runs import resumed_results
from small_sensitivities import directions, together, vectors_of
from torch import Tensor

import landscape
from landscape import Objective, Sensitivity
from landscape.analyses.sensitivity import forecast
from landscape.analyses.sensitivity.forecast import ForecastSums, count_products, forecast_changes
from landscape.analyses.sensitivity.sample_groups import sample_groups
from landscape.operators import GaussNewtonOperator, HessianOperator

Data = tuple[Tensor, Tensor]
ALL = Sensitivity(bits=(8, 3), prune=(0.5,), granularity="group:3")


def forecasts(objective: Objective, groups: int, saved: Any) -> Any:
    """The steps of the forecasts of all changes, by so many groups of samples."""
    hessian, vectors = HessianOperator(objective), vectors_of(ALL, objective)
    return forecast_changes(objective, hessian, vectors, ALL.changes, sample_groups(objective, groups), saved)


def same(left: ForecastSums, right: ForecastSums) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in vars(left))


def test_forecasts_are_those_of_the_dense_hessian_in_every_batch_size(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    dense, gradient = dense_hessian(tanh_net(), [classification]), objective.gradient()
    result = landscape.run(ALL, objective)
    moves, joint = directions(ALL, objective), together(ALL, objective)
    np.testing.assert_allclose(result.change_curvature, [float(d @ dense @ d) for d in moves], rtol=1e-9)
    np.testing.assert_allclose(result.change_slope, [float(gradient @ d) for d in moves], rtol=1e-9)
    np.testing.assert_allclose(result.change_norm, [float(d.norm()) for d in moves], rtol=1e-12)
    expected = [float(gradient @ d + d @ dense @ d / 2) for d in joint]
    np.testing.assert_allclose(result.kind_forecast, expected, rtol=1e-9)


def test_gauss_newton_forecasts_are_those_of_its_dense_matrix(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    dense = GaussNewtonOperator(objective).to_dense()
    analysis = Sensitivity(bits=(4, 3), operator="ggn")
    result = landscape.run(analysis, objective)
    expected = [float(d @ dense @ d) for d in directions(analysis, objective)]
    np.testing.assert_allclose(result.change_curvature, expected, rtol=1e-9)


def test_products_by_differences_forecast_as_well(classification: Data) -> None:
    from landscape.compute.strategy import ProductSettings

    exact, differences = (
        landscape.run(
            Sensitivity(bits=(3,)),
            Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", settings=settings),
        )
        for settings in (None, ProductSettings(hvp="difference"))
    )
    np.testing.assert_allclose(differences.change_forecast, exact.change_forecast, rtol=1e-5)


def test_each_group_s_sums_are_those_of_its_own_samples(classification: Data, split: Splitter) -> None:
    x, y = classification
    objective = Objective(tanh_net(), split(x, y), "cross_entropy", dtype="float64")
    found, moves = drained(forecasts(objective, 3, {}))[1], directions(ALL, objective)
    for group, place in enumerate((slice(0, 8), slice(8, 16), slice(16, 24))):
        alone = Objective(tanh_net(), [(x[place], y[place])], "cross_entropy", dtype="float64")
        dense, gradient = dense_hessian(tanh_net(), [(x[place], y[place])]), alone.gradient()
        slopes = [8 * float(gradient @ d) for d in moves]
        curvatures = [8 * float(d @ dense @ d) for d in moves]
        np.testing.assert_allclose(found.slopes[group].T.ravel(), slopes, rtol=1e-8, atol=1e-13)
        np.testing.assert_allclose(found.curvatures[group].T.ravel(), curvatures, rtol=1e-8, atol=1e-13)
        joint = [8 * float(d @ dense @ d) for d in together(ALL, objective)]
        np.testing.assert_allclose(found.joint[group], joint, rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(found.norms.T.ravel(), [float(d.norm()) for d in moves], rtol=1e-12)
    assert found.layers.shape == (3, 2, 3)


def test_layers_that_change_together_have_the_sum_of_their_slopes() -> None:
    sums = ForecastSums(np.array([[[1.0], [2.0]]]), np.array([[[4.0], [6.0]]]), np.array([[20.0]]), np.ones((2, 1)))
    assert sums.layers.tolist() == [[[3.0], [5.0]]]
    assert sums.together.tolist() == [[13.0]]
    assert sums.with_changes(sums).together.tolist() == [[13.0, 13.0]]
    assert sums.with_changes(sums).done == 2


@pytest.mark.parametrize("width", [1, 2])
def test_changes_that_pass_one_after_the_other_have_the_same_sums(
    width: int, classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    expected = drained(forecasts(objective, 3, {}))[1]
    monkeypatch.setattr(forecast, "columns_per_pass", lambda *sizes: width)
    whole, resumed = resumed_results(partial(forecasts, objective, 3))
    assert len(resumed) == -(-3 // width)
    assert all(same(one, whole) for one in resumed)
    np.testing.assert_allclose(whole.layers, expected.layers, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(
    ("operator", "hvp", "products"),
    [("ggn", "auto", 6 + 6 * 4), ("hessian", "difference", 6 + 6 * 4), ("hessian", "auto", 6 + 6 * (1 + 4 * 0.15))],
    ids=["ggn", "differences", "short-passes"],
)
def test_products_of_blocks_are_counted_by_how_they_are_made(operator: str, hvp: str, products: float) -> None:
    assert count_products(operator, hvp, 6, 4) == pytest.approx(products)
