"""What the result of `trace` says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.analyses.trace import TraceResult


@pytest.fixture
def result() -> TraceResult:
    """A trace of 2 within 1 %, as asked for."""
    return TraceResult(
        trace=2.0,
        standard_error=0.01,
        interval=np.array([1.98, 2.02]),
        rtol=0.02,
        products=30,
        cost_gradients=60.0,
        estimator=np.array(["xtrace"]),
        estimator_trace=np.array([2.0]),
        estimator_standard_error=np.array([0.01]),
        estimator_products=np.array([30]),
        estimator_needed=np.array([20.0]),
        loss=0.1,
        gradient_norm=0.1,
        parameters=10,
        samples=5,
    )


def test_an_interval_as_narrow_as_asked_is_conclusive(result: TraceResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == ["95 % interval 1.98 to 2.02"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rtol": 0.001}, "half-width 0.01 of the trace after 30 products, 0.001 was asked for"),
        ({"trace": 0.0}, "half-width infinite of the trace after 30 products, 0.02 was asked for"),
        ({"layer_trace": np.array([1.0, np.nan])}, "no trace of the blocks after 30 products"),
    ],
    ids=["wide", "trace-of-zero", "blocks-without-a-value"],
)
def test_each_trouble_names_its_reason_and_more_products(result: TraceResult, changes: Any, why: str) -> None:
    trouble = replace(result, **changes).trouble()
    assert trouble
    assert trouble.why == why
    assert "--max-products" in trouble.fix


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (0.5, "standard error 0.5 by the choice of samples, 0.01 by the random vectors: more samples, not more prod"),
        (0.001, "standard error 0.001 by the choice of samples, 0.01 by the random vectors: more products, not more"),
        (
            float("nan"),
            "the error by the choice of samples is not known: the noise of 16 probes hides it",
        ),
    ],
    ids=["data", "algorithm", "unknown"],
)
def test_the_larger_error_is_named(result: TraceResult, data: float, remark: str) -> None:
    assert replace(result, data_standard_error=data).remarks()[1].startswith(remark)


def test_errors_of_zero_need_no_advice(result: TraceResult) -> None:
    exact = replace(result, standard_error=0.0, data_standard_error=0.0)
    assert exact.remarks()[1].endswith("0 by the random vectors")


def test_the_estimator_that_needs_the_fewest_products_is_named(result: TraceResult) -> None:
    two = {"estimator": np.array(["xtrace", "hutchinson"]), "estimator_needed": np.array([20.0, 7.4])}
    assert replace(result, **two).remarks()[-1] == "hutchinson needs the fewest products for --rtol, about 7"  # type: ignore[arg-type]


def test_where_every_estimate_takes_longer_the_diagonal_itself_is_advised(result: TraceResult) -> None:
    """Of an inconclusive result, whose products did not suffice for either."""
    two = {"estimator": np.array(["xtrace", "hutchinson"]), "estimator_needed": np.array([6600.0, 9000.0])}
    short = replace(result, interval=np.array([0.0, 4.0]), **two)  # type: ignore[arg-type]
    assert short.trouble() is not None
    assert short.remarks()[-1].endswith(f"--max-products {short.products + short.parameters}")
    assert "exact" in short.remarks()[-1]


def test_the_error_by_the_labels_is_named_and_asks_for_no_more_products(result: TraceResult) -> None:
    half = float(np.hypot(0.02, 1.96 * 0.1))
    wide = replace(
        result,
        standard_error=float(np.hypot(0.01, 0.1)),
        interval=np.array([2 - half, 2 + half]),
        label_standard_error=0.1,
    )
    assert wide.trouble() is None
    assert wide.remarks()[1] == (
        "standard error 0.1 by the labels drawn, 0.01 by the random vectors: more --labels, not more products, would "
        "make it more certain"
    )
    trouble = replace(wide, rtol=0.005).trouble()
    assert trouble
    assert trouble.why.startswith("half-width 0.01 of the trace")  # that of the random vectors


def test_an_exact_trace_of_drawn_labels_has_the_labels_error_alone(result: TraceResult) -> None:
    half = 1.96 * 0.1
    exact = replace(
        result, standard_error=0.1, interval=np.array([2 - half, 2 + half]), label_standard_error=0.1, rtol=1e-9
    )
    assert exact.trouble() is None


def test_an_interval_that_is_not_a_number_is_not_narrow(result: TraceResult) -> None:
    unknown = replace(result, interval=np.array([np.nan, np.nan]), label_standard_error=0.1)
    assert unknown.trouble() is not None


def test_an_error_by_the_labels_that_random_vectors_hide_is_said_to_be_unknown(result: TraceResult) -> None:
    unknown = replace(result, label_standard_error=float("nan"))
    assert unknown.trouble() is None
    assert "is not known, nor part of the interval" in unknown.remarks()[1]


def test_layers_do_not_contain_the_labels_error(result: TraceResult) -> None:
    layers = {"layer": np.array(["a"]), "layer_trace": np.array([2.0])}
    remark = replace(result, label_standard_error=0.001, **layers).remarks()[1]
    assert remark.endswith("by the random vectors; those of the layers do not contain the former")


def test_the_trace_means_a_rise_under_noise_if_it_is_of_the_hessian_and_above_0(result: TraceResult) -> None:
    hessian = replace(result, attributes={"options": '{"operator": "hessian"}'})
    assert hessian.meaning() == (
        "Gaussian noise of standard deviation 0.01 on every weight raises the loss by 0.0001 (0.1 % of it) on average, "
        "to second order"
    )
    assert replace(hessian, interval=np.array([-0.1, 4.1])).meaning() == ""
    assert replace(result, attributes={"options": '{"operator": "ggn"}'}).meaning() == ""
    assert "by 0.0001 on average" in replace(hessian, loss=-0.1).meaning()
