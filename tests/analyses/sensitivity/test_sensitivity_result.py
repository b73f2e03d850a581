"""What a result of `sensitivity` says of its forecasts, their ranks and the chosen bits, and where it means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from small_sensitivities import two_layers
from torch import Tensor

import landscape
from landscape import Objective, Sensitivity
from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
from landscape.gates.metric import Metric, read_metric

Data = tuple[Tensor, Tensor]
CHOSEN: dict[str, Any] = {
    "layer": np.array(["a", "b"]), "layer_parameters": np.array([6, 8]), "layer_bits": np.array([8, 3]),
    "allocation_bits": 5.0, "allocation_expected": 1e-3, "allocation_change": 2e-3, "allocation_change_se": 1e-4,
    "uniform_bits": 4, "uniform_change": 5e-3, "uniform_change_se": 1e-4, "allocation_gain": 3e-3,
    "allocation_gain_se": 2e-4,
}  # fmt: skip


@pytest.fixture
def result() -> SensitivityResult:
    return two_layers()


def test_forecasts_that_fail_or_rank_otherwise_are_named(result: SensitivityResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == [
        "3 bits: the second-order forecast fails for 1 and is unclear for 1 of 2 layers",
        "3 bits: rank layers by the real changes, the forecast ranks them otherwise",
    ]


def test_few_layers_have_no_correlation(result: SensitivityResult) -> None:
    unknown = replace(result, layers=2, kind_spearman=np.array([np.nan, np.nan]))
    assert unknown.remarks()[-1] == "2 layers: ranks of layers have no correlation"
    assert replace(unknown, layers=1).remarks()[-1] == "one layer: ranks of layers have no correlation"


def test_a_correlation_that_is_not_known_is_doubtful(result: SensitivityResult) -> None:
    unknown = replace(result, kind_spearman=np.array([np.nan, 1.0]))
    assert unknown.remarks()[-1].startswith("8 bits: rank layers by the real changes")


def test_the_chosen_bits_are_told_beside_uniform_ones(result: SensitivityResult) -> None:
    assert replace(result, **CHOSEN).remarks()[-1] == (
        "bits by layer, 5 on average: the loss changes by 0.002 (the layers' sum is 0.001), with 4 bits everywhere by "
        "0.005; the difference is 0.003 +- 0.0002"
    )
    within = replace(result, **{**CHOSEN, "allocation_gain_se": 0.002})
    assert within.remarks()[-1].endswith("the difference is 0.003 +- 0.002, which is within its error")
    none = replace(result, **{**CHOSEN, "allocation_gain": 0.0, "allocation_gain_se": 0.0})
    assert none.remarks()[-1].endswith("; there is no difference in any sample")
    certain = replace(result, **{**CHOSEN, "allocation_gain_se": 0.0})
    assert certain.remarks()[-1].endswith("the difference is 0.003")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"change_real": np.array([1.0, np.inf, 1.0, 1.0])}, "not finite: b 8 bits"),
        ({"change_forecast": np.array([1.0, 1.0, np.nan, 1.0])}, "not finite: a 3 bits"),
        ({"kind_real": np.array([1.0, np.nan])}, "not finite: all layers 3 bits"),
        ({**CHOSEN, "allocation_change": float("nan")}, "not finite: the loss with the chosen bits"),
    ],
    ids=["real", "forecast", "joint", "chosen"],
)
def test_numbers_that_are_not_finite_are_inconclusive(result: SensitivityResult, changes: Any, why: str) -> None:
    trouble = replace(result, **changes).trouble()
    assert trouble is not None
    assert trouble.why == why
    assert trouble.kind == "not finite"


def test_a_change_of_a_layer_can_be_gated_by_its_name(classification: Data) -> None:
    result = landscape.run(Sensitivity(bits=(3,)), Objective(tanh_net(), [classification], "cross_entropy"))
    reading = read_metric(result, Metric.parse("sensitivity.change_real[2 3 bits]"))
    assert reading.value == result.change_real[1]
    assert reading.error is None  # by the samples, which are the same on both sides of a gate


def test_forecasts_that_hold_are_not_remarked(result: SensitivityResult) -> None:
    holding = replace(result, change_holds=np.array(["yes"] * 4), kind_spearman=np.array([1.0, 0.9]))
    assert holding.remarks() == []


def test_several_kinds_that_rank_otherwise_stand_in_one_sentence(result: SensitivityResult) -> None:
    low = replace(result, change_holds=np.array(["yes"] * 4), kind_spearman=np.array([-1.0, 0.89]))
    assert low.remarks() == ["8 bits and 3 bits: rank layers by the real changes, the forecast ranks them otherwise"]


def test_every_number_that_is_not_finite_is_named(result: SensitivityResult) -> None:
    broken = replace(result, change_real=np.array([np.nan, 1, 1, -np.inf]), kind_forecast=np.array([np.inf, 1]))
    assert str(broken.trouble()) == "not finite: a 8 bits, b 3 bits, all layers 8 bits"


def test_the_most_sensitive_layer_is_named_if_it_is_apart_from_the_next(result: SensitivityResult) -> None:
    rows = result.change_kind == result.kind[0]
    for real, error, named in (((0.5, 0.1), 0.01, True), ((0.5, 0.48), 0.01, False), ((-0.1, -0.5), 0.01, False)):
        changes, errors = np.zeros(len(rows)), np.full(len(rows), error)
        changes[rows] = real
        one = replace(result, change_real=changes, change_real_se=errors, loss=2.0)
        words = (
            f"{result.kind[0]}: {result.change_layer[rows][0]} is the most sensitive layer, which raises the loss by"
        )
        assert one.meaning() == (f"{words} 0.5 (25 % of it)" if named else "")


@pytest.mark.parametrize(
    ("real", "real_error", "words"),
    [(0.35, 0.01, "which does not hold"), (0.35, 0.3, "which may not hold"), (0.011, 0.001, "")],
    ids=["beyond-errors", "within-errors", "within-the-tolerance"],
)
def test_a_joint_change_that_the_forecast_misses_is_told(
    result: SensitivityResult, real: float, real_error: float, words: str
) -> None:
    """Layers may hold alone, and fail together: that is what a model would ship with."""
    forecast, errors = np.array([0.01, 0.01]), np.array([1e-3, 1e-3])
    joint = replace(
        result, kind_real=np.array([0.01, real]), kind_real_se=np.array([1e-3, real_error]), kind_forecast=forecast,
        kind_forecast_se=errors,
    )  # fmt: skip
    said = [remark for remark in joint.remarks() if "all layers together" in remark]
    assert len(said) == bool(words)
    assert all(one.startswith("3 bits: ") and one.endswith(words) for one in said)
