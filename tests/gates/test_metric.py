"""Numbers of results by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_sensitivities import two_layers

from landscape.analyses import ANALYSES
from landscape.analyses.density import DensityResult
from landscape.analyses.eig import EigResult
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.analyses.trace import TraceResult
from landscape.errors import UsageError
from landscape.fields import Array, Scalar, described_fields, gauge_of, number_fields
from landscape.gates.metric import Metric, data_error, describes_run, metrics_of, read_metric


def eig(**changes: Any) -> EigResult:
    values = np.array([3.0, 2.0])
    result = EigResult(
        eigenvalues=values, residuals=values / 1e3, error_bounds=values / 1e5, converged=np.array([True, True]),
        ritz_values=values[None], ritz_residuals=values[None], tol=1e-3, products=9, search_products=3, rounding=1e-6,
        confirmed=True, loss=0.1, gradient_norm=0.2, parameters=10, samples=20,
        layer=np.array(["fc.1", "0"]), layer_parameters=np.array([4, 6]), layer_eigenvalue=np.array([7.0, 5.0]),
        layer_residual=np.array([0.1, 0.2]), layer_converged=np.array([True, True]),
    )  # fmt: skip
    return replace(result, **changes)


def trace(**changes: Any) -> TraceResult:
    result = TraceResult(
        trace=2.0, standard_error=0.1, interval=np.array([1.9, 2.1]), rtol=0.1, products=8, cost_gradients=16.0,
        estimator=np.array(["xtrace"]), estimator_trace=np.array([2.0]), estimator_standard_error=np.array([0.1]),
        estimator_products=np.array([8]), estimator_needed=np.array([8.0]), loss=0.1, gradient_norm=0.2, parameters=10,
        samples=20, draws=np.array([1.0, 3.0]),
    )  # fmt: skip
    return replace(result, **changes)


def sharpness(**changes: Any) -> SharpnessResult:
    result = SharpnessResult(
        rho=np.array([0.1, 0.2]), s_max=np.array([1.0, 2.0]), mode=np.array(["unique", "multimodal"]),
        s_avg=np.array([0.1, 0.2]), s_avg_se=np.array([0.01, 0.02]),
        s_avg_draws=np.array([[0.1, 0.3], [0.1, 0.1], [0.1, 0.2]]), resolved=np.array([True, True]), loss=0.1,
        gradient_norm=0.2, rounding=1e-5, gradients=9, draws=3, m=20, parameters=10, samples=20,
    )  # fmt: skip
    return replace(result, **changes)


def test_an_error_by_the_choice_of_the_samples_is_no_error_of_a_comparison() -> None:
    """Both sides of a comparison have the same samples; an error that is not known is no obstacle either."""
    for error in (0.5, float("nan"), float("inf")):
        result = two_layers(kind_real=np.array([1.0, 2.0]), kind_real_se=np.full(2, error))
        reading = read_metric(result, Metric.parse("sensitivity.kind_real[3 bits]"))
        assert (reading.value, reading.error, reading.not_gateable) == (2.0, None, "")


def test_the_error_by_the_choice_of_the_samples_is_known_by_itself() -> None:
    """As the only error of a number, and beside that of the algorithm; one that is not known is none."""
    by_samples = two_layers(kind_real=np.array([1.0, 2.0]), kind_real_se=np.array([0.5, 0.25]))
    assert data_error(by_samples, Metric.parse("sensitivity.kind_real[3 bits]")) == 0.25
    resampled = eig(data_standard_errors=np.array([0.5, math.nan]))
    assert data_error(resampled, Metric.parse("eig.eigenvalues[0]")) == 0.5
    assert data_error(resampled, Metric.parse("eig.eigenvalues[1]")) is None
    assert data_error(resampled, Metric.parse("eig.eigenvalues[7]")) is None
    assert data_error(trace(data_standard_error=0.3), Metric.parse("trace.trace")) == 0.3
    assert data_error(trace(), Metric.parse("trace.trace")) is None
    assert data_error(trace(), Metric.parse("trace.loss")) is None


@pytest.mark.parametrize(
    "text", ["trace.trace", "eig.eigenvalues[0]", "surface.loss[0, 3, 4]", "eig.layer_eigenvalue[fc.1]"]
)
def test_a_name_is_read_as_it_is_written(text: str) -> None:
    assert str(Metric.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eig", "names no number"),
        ("eig.", "names no number"),
        ("eig.eigenvalues[", "names no number"),
        ("eigg.eigenvalues[0]", "did you mean eig"),
        ("eig.eigenvalue[0]", "did you mean eigenvalues"),
        ("eig.eigenvalues", "is not one number"),
        ("eig.eigenvalues[0, 0]", "is not one number"),
        ("trace.trace[0]", "is not one number"),
        ("sharpness.mode[0]", "has no number"),
        ("sharpness.rho[0]", "has no number"),
    ],
)
def test_what_names_no_number_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")) as caught:
        Metric.parse(text)
    assert caught.value.fix


def test_every_scalar_and_every_element_of_every_result_has_a_name() -> None:
    for analysis in ANALYSES:
        for field in described_fields(analysis.result, Scalar):
            assert str(Metric.parse(f"{analysis.name}.{field.name}")) == f"{analysis.name}.{field.name}"
        for field in described_fields(analysis.result, Array):
            if not field.about.words and field.about.dims != (field.name,):
                Metric.parse(f"{analysis.name}.{field.name}[{', '.join('0' for _ in field.about.dims)}]")


def test_an_eigenvalue_comes_with_its_error_bound_and_its_rounding() -> None:
    reading = read_metric(eig(), Metric.parse("eig.eigenvalues[1]"))
    assert (reading.value, reading.error, reading.floor) == (2.0, pytest.approx(2e-5), 1e-6)
    assert (reading.draws, reading.not_gateable, reading.not_unique) == ((), "", "")


def test_a_trace_comes_with_its_error_and_draws() -> None:
    assert read_metric(trace(), Metric.parse("trace.trace")).draws == (1.0, 3.0)
    assert read_metric(trace(), Metric.parse("trace.trace")).error == 0.1
    assert read_metric(trace(draws=None, standard_error=0.0), Metric.parse("trace.trace")).draws == ()


def test_an_element_takes_its_own_column_of_the_draws() -> None:
    reading = read_metric(sharpness(), Metric.parse("sharpness.s_avg[1]"))
    assert (reading.value, reading.error, reading.draws, reading.floor) == (0.2, 0.02, (0.3, 0.1, 0.2), 1e-5)


def test_a_standard_error_beside_a_scalar_is_found_by_its_name() -> None:
    assert gauge_of(DensityResult, "effective_rank").error == "effective_rank_se"
    assert gauge_of(EigResult, "loss").error == ""


def test_a_label_is_taken_before_a_number() -> None:
    assert read_metric(eig(), Metric.parse("eig.layer_eigenvalue[fc.1]")).value == 7.0
    assert read_metric(eig(), Metric.parse("eig.layer_eigenvalue[0]")).value == 5.0, "there is a layer called 0"
    assert read_metric(eig(), Metric.parse("eig.layer_eigenvalue[1]")).value == 5.0


@pytest.mark.parametrize(
    ("result", "name", "words"),
    [
        (eig(), "eig.eigenvalues[2]", "no [2] among the 2"),
        (eig(), "eig.layer_eigenvalue[fc.2]", "no [fc.2] among the 2 of layer_eigenvalue (fc.1, 0)"),
        (eig(), "eig.certified_gap", "holds no certified_gap"),
        (eig(eigenvalues=np.array([np.nan, 2.0])), "eig.eigenvalues[0]", "it is nan"),
        (eig(eigenvalues=np.array([np.inf, 2.0])), "eig.eigenvalues[0]", "it is inf"),
        (eig(error_bounds=np.array([np.nan, 2.0])), "eig.eigenvalues[0]", "its error is nan"),
        (eig(converged=np.array([True, False])), "eig.eigenvalues[0]", "1 of 2 eigenvalues converged"),
        (eig(confirmed=False), "eig.eigenvalues[0]", "not confirmed"),
        (trace(interval=np.array([1.0, 3.0])), "trace.trace", "was asked for"),
    ],
    ids=["element", "label", "absent", "nan", "infinite", "error", "not-converged", "not-confirmed", "wide"],
)
def test_what_decides_nothing_says_why(result: Any, name: str, words: str) -> None:
    assert words in read_metric(result, Metric.parse(name)).not_gateable


def test_what_was_not_confirmed_still_has_a_loss() -> None:
    assert not read_metric(eig(confirmed=False), Metric.parse("eig.loss")).not_gateable


def test_a_missing_number_is_nan() -> None:
    assert math.isnan(read_metric(eig(), Metric.parse("eig.eigenvalues[2]")).value)


def test_a_maximum_among_several_is_ambiguous_and_a_mean_is_not() -> None:
    assert "multimodal" in read_metric(sharpness(), Metric.parse("sharpness.s_max[1]")).not_unique
    assert not read_metric(sharpness(), Metric.parse("sharpness.s_max[0]")).not_unique
    assert not read_metric(sharpness(), Metric.parse("sharpness.s_avg[1]")).not_unique


def test_the_names_that_a_result_holds_can_be_read_from_it() -> None:
    for result in (eig(), trace(), sharpness()):
        for metric in metrics_of(result):
            assert math.isfinite(read_metric(result, Metric.parse(str(metric))).value)
    assert "eig.layer_eigenvalue[fc.1]" in map(str, metrics_of(eig()))


def test_counts_options_and_errors_are_told_from_what_one_would_gate_on() -> None:
    plain = ("eig.products", "eig.tol", "eig.rounding", "eig.confirmed", "sharpness.s_avg_se[0]")
    assert all(describes_run(Metric.parse(name)) for name in plain)
    assert not any(describes_run(Metric.parse(name)) for name in ("eig.eigenvalues[0]", "eig.loss", "trace.trace"))


def test_what_a_gauge_names_is_there() -> None:
    for analysis in ANALYSES:
        held = {field.name for kind in (Array, Scalar) for field in described_fields(analysis.result, kind)}
        for name in number_fields(analysis.result):
            gauge = gauge_of(analysis.result, name)
            assert {gauge.error, gauge.data_error, gauge.draws, gauge.floor} - {""} <= held


def test_a_number_that_cannot_be_used_has_the_remedy_of_its_reason() -> None:
    unconverged = read_metric(eig(converged=np.array([True, False])), Metric.parse("eig.eigenvalues[0]"))
    assert "--dtype float64" in unconverged.fix
    assert "options of eig stand in [check.eig]" in unconverged.fix
    missing = read_metric(eig(), Metric.parse("eig.eigenvalues[7]"))
    assert missing.fix == "ask for it in [check.eig] (k, per_layer ...), or leave the metric out"
    unconfirmed = read_metric(eig(confirmed=False), Metric.parse("eig.eigenvalues[0]"))
    assert unconfirmed.fix == "options of eig stand in [check.eig]; or leave the metric out"
    assert read_metric(eig(), Metric.parse("eig.eigenvalues[0]")).fix == ""
