"""Options of `eig`, and what its result says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape import Eig
from landscape.analyses.eig import MORE_PASSES, MORE_PRODUCTS, UNCONFIRMED, EigResult
from landscape.errors import UsageError


@pytest.fixture
def result() -> EigResult:
    """Two converged and confirmed eigenvalues."""
    return EigResult(
        eigenvalues=np.array([3.0, 1.0]),
        residuals=np.array([1e-4, 2e-4]),
        error_bounds=np.array([1e-6, 1e-6]),
        converged=np.array([True, True]),
        ritz_values=np.array([[2.0, np.nan], [3.0, 1.0]]),
        ritz_residuals=np.array([[1.0, np.nan], [1e-4, 2e-4]]),
        tol=1e-3,
        products=12,
        search_products=8,
        rounding=1e-6,
        confirmed=True,
        loss=0.1,
        gradient_norm=0.2,
        parameters=10,
        samples=5,
    )


def test_converged_values_are_conclusive(result: EigResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == []
    assert result.not_gateable("eigenvalues", (0,)) == ""


def test_values_that_did_not_converge_need_more_products(result: EigResult) -> None:
    trouble = replace(result, converged=np.array([True, False]), residuals=np.array([1e-4, 0.5])).trouble()
    assert trouble
    assert trouble.why == "1 of 2 eigenvalues converged in 12 products"
    assert trouble.fix == MORE_PRODUCTS


def test_values_whose_residual_is_rounding_alone_need_another_precision(result: EigResult) -> None:
    rounded = replace(
        result, converged=np.array([True, False]), residuals=np.array([1e-4, 0.3]), rounding=0.3, tol=1e-3
    ).trouble()
    assert rounded
    assert "the rounding of the products, 0.3, is too large for the others" in rounded.why
    assert "--dtype float64" in rounded.fix


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks-too", "blocks-converged"])
def test_a_certificate_that_was_not_reached_is_trouble(result: EigResult, blocks: bool) -> None:
    trouble = replace(result, certified=False, layer_converged=np.array([True, not blocks])).trouble()
    assert trouble
    assert trouble.why == "not certified: the search for skipped values was cut short after 12 products"
    assert trouble.fix == (MORE_PASSES if blocks else MORE_PRODUCTS)


def test_blocks_that_did_not_converge_are_counted(result: EigResult) -> None:
    trouble = replace(result, layer_converged=np.array([True, False, False])).trouble()
    assert trouble
    assert (trouble.why, trouble.fix) == ("1 of 3 blocks converged", MORE_PASSES)


def test_eigenvalues_that_no_second_start_confirmed_are_not_gated_but_the_loss_is(result: EigResult) -> None:
    unconfirmed = replace(result, confirmed=False)
    assert unconfirmed.not_gateable("eigenvalues", (0,)) == UNCONFIRMED
    assert unconfirmed.not_gateable("loss", ()) == ""
    assert unconfirmed.remarks() == [UNCONFIRMED]


@pytest.mark.parametrize(("data", "advice"), [(0.5, "more samples"), (1e-9, "a smaller --tol")])
def test_the_larger_error_of_rank_0_is_named(result: EigResult, data: float, advice: str) -> None:
    (remark,) = replace(result, data_standard_errors=np.array([data, data])).remarks()
    assert remark.endswith(f"algorithm: {advice} would make it more certain")


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (0.3, "lambda_1: too large by about 0.3 (15 %), since samples are few (not subtracted)"),
        (-0.1, "lambda_1: too small by about 0.1 (5 %), since samples are few (not subtracted)"),
        (np.nan, "lambda_1: its bias by the number of samples is not known: no value of a half of the data"),
    ],
)
def test_the_bias_of_rank_0_is_a_remark_beside_its_error(result: EigResult, bias: float, words: str) -> None:
    errors, biases = np.array([1e-9, 1e-9]), np.array([bias, 0.0])
    scaled = replace(result, eigenvalues=np.array([2.0, 1.0]), data_standard_errors=errors, data_biases=biases)
    error, remark = scaled.remarks()
    assert remark == words
    advice = "a smaller --tol" if np.isnan(bias) else "more samples"
    assert error.endswith(f"algorithm: {advice} would make it more certain")


def test_the_certificate_is_a_remark(result: EigResult) -> None:
    (remark,) = replace(
        result, certified=True, certified_gap=0.01, certified_margin=0.0163, certified_probability=0.0049
    ).remarks()
    assert remark == (
        "certified: no eigenvalue beyond these by more than 0.0163 was missed, P(wrong) <= 0.0049 "
        "(gap 0.01 of the width searched)"
    )


@pytest.mark.parametrize("options", [{"k": 0}, {"tol": -1.0}, {"which": "biggest"}, {"max_products": 0}], ids=str)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="--"):
        Eig(**options)  # type: ignore[arg-type]


def test_pyhessian_cannot_cross_check_the_lower_end() -> None:
    with pytest.raises(UsageError, match="largest in magnitude"):
        Eig(which="smallest", cross_check=True)


def test_a_cross_check_of_another_matrix_is_refused() -> None:
    with pytest.raises(UsageError, match="compares with PyHessian's Hessian"):
        Eig(operator="ggn", cross_check=True)


def test_the_unstable_learning_rate_is_that_of_the_largest_eigenvalue_of_the_hessian(result: EigResult) -> None:
    hessian = replace(result, attributes={"options": '{"operator": "hessian", "which": "largest"}'})
    meaning = "gradient descent with a learning rate above 2 / lambda_1 = 0.667 is unstable here"
    assert hessian.meaning() == hessian.sentences()[0] == meaning
    assert replace(hessian, converged=np.array([True, False])).sentences() == []
    for operator, which in (("ggn", "largest"), ("hessian", "smallest")):
        other = replace(result, attributes={"options": f'{{"operator": "{operator}", "which": "{which}"}}'})
        assert other.meaning() == ""
    assert replace(hessian, error_bounds=np.array([3.5, 1e-6])).meaning() == ""
    assert replace(hessian, eigenvalues=np.array([-1.0, -2.0])).meaning() == ""
    assert result.meaning() == ""
