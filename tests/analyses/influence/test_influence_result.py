"""What a result of influence says of itself: where scores mean nothing, and what weakens them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import tanh_net
from small_influences import influence
from torch import Tensor

import landscape
from landscape import Influence, Objective, session
from landscape.analyses.base import Trouble
from landscape.analyses.influence.influence_result import InfluenceResult

Data = tuple[Tensor, Tensor]
SCORES = {"query": np.array(["a:0", "a:1"]), "scores": np.ones((4, 2)), "residual": np.array([1e-4, 5e-4]), "tol": 1e-3}


def result_of(**changes: Any) -> InfluenceResult:
    """Four samples at a minimum, with nothing to remark."""
    fields: dict[str, Any] = {
        "sample": np.arange(4), "sample_loss": np.ones(4), "gradient_norm2": np.ones(4), "damping": 0.1,
        "stationarity": 0.0, "products": 9, "loss": 0.1, "gradient_norm": 0.0, "parameters": 5, "samples": 4,
    }  # fmt: skip
    return InfluenceResult(**{**fields, **changes})


def test_solves_within_the_tolerance_are_conclusive() -> None:
    result = result_of(**SCORES)
    assert result.worst_residual == 5e-4
    assert result.trouble() is None
    assert result.remarks() == [
        "a positive score helps: without the sample the query's loss would be higher by it, to first order"
    ]


@pytest.mark.parametrize(
    ("changes", "worst"),
    [
        ({}, math.nan),
        ({"self_residual": 0.3}, 0.3),
        ({"residual": np.array([0.1, 0.2]), "self_residual": 0.3}, 0.3),
        ({"residual": np.array([0.1, 0.4]), "self_residual": 0.3}, 0.4),
        ({"residual": np.array([0.1, np.nan]), "self_residual": 0.3}, math.nan),
        ({"residual": np.array([0.1]), "self_residual": math.nan}, math.nan),
    ],
    ids=["none", "of-itself", "both", "of-a-query", "query-unknown", "of-itself-unknown"],
)
def test_the_worst_residual_is_not_known_if_one_is_not(changes: dict[str, Any], worst: float) -> None:
    assert result_of(**changes).worst_residual == pytest.approx(worst, nan_ok=True)


def test_a_residual_above_the_tolerance_is_inconclusive() -> None:
    result = result_of(**{**SCORES, "residual": np.array([1e-4, 2e-3])})
    assert result.trouble() == Trouble(
        "the residual is 0.002, 0.001 was asked for", "a larger --damping, or a larger --max-iterations"
    )
    said = Trouble("rounding keeps the residual at 0.002", "--dtype float64", "degenerate")
    assert result_of(**{**SCORES, "residual": np.array([2e-3, 0]), "solve_trouble": said}).trouble() == said


def test_a_residual_that_is_not_known_does_not_pass_a_tolerance() -> None:
    assert result_of(**{**SCORES, "residual": np.array([1e-4, np.nan])}).trouble() is not None
    assert result_of(tol=1e-3, self_influence=np.ones(4)).trouble() is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["scores", "self_influence"])
def test_scores_that_are_not_finite_are_inconclusive(field: str, value: float) -> None:
    values = np.ones((4, 2)) if field == "scores" else np.ones(4)
    values[-1] = value
    trouble = result_of(**{**SCORES, field: values}).trouble()
    assert trouble is not None
    assert trouble.kind == "not finite"


def test_factors_that_miss_are_no_trouble_and_a_remark() -> None:
    """Their residual is under another matrix: it tells how far factors are from it."""
    result = result_of(**{**SCORES, "tol": None, "residual": np.array([0.4, 0.7])})
    assert result.trouble() is None
    assert "their solutions have residual 0.7 (--inverse cg" in result.remarks()[1]
    assert "residual not known" in result_of(self_influence=np.ones(4)).remarks()[0]


@pytest.mark.parametrize(("covered", "left_out"), [(0.48, "52 %"), (0.95, ""), (None, "")])
def test_parameters_that_scores_leave_out_are_told(covered: float | None, left_out: str) -> None:
    remarks = result_of(**{**SCORES, "tol": None, "covered": covered}).remarks()
    said = [remark for remark in remarks if "leave out" in remark]
    assert len(said) == bool(left_out)
    assert all(f"leave out {left_out} of the parameters" in remark for remark in said)


@pytest.mark.parametrize(
    ("changes", "worst"),
    [
        ({"agreement": np.array([0.95, 0.5])}, "0.50"),
        ({"agreement": np.array([0.95, np.nan]), "self_agreement": 0.8}, "0.80"),
        ({"agreement": np.array([0.95, 0.9]), "self_agreement": 1.0}, ""),
        ({"agreement": np.array([np.nan, np.nan])}, ""),
    ],
    ids=["query", "itself", "independent", "unknown"],
)
def test_ranks_that_the_damping_decides_are_named(changes: dict[str, Any], worst: str) -> None:
    found = [one for one in result_of(**SCORES, **changes).remarks() if "the damping decides the ranks" in one]
    assert len(found) == bool(worst)
    assert all(f"correlation is {worst} at worst" in one for one in found)


@pytest.mark.parametrize(("stationarity", "named"), [(0.1, False), (0.11, True)], ids=["minimum", "on-the-way"])
def test_a_net_at_no_minimum_is_named(stationarity: float, named: bool) -> None:
    remarks = result_of(**SCORES, stationarity=stationarity).remarks()
    assert any("at no minimum: its mean gradient has 0.11 of" in one for one in remarks) == named


def test_a_net_that_is_not_trained_is_told(classification: Data, fitted: Objective) -> None:
    untrained = influence(Objective(tanh_net(), classification, "cross_entropy"), query="samples:0", tol=1e-3)
    assert untrained.stationarity > 0.1
    assert any("at no minimum" in one for one in untrained.remarks())


def test_factors_state_the_residual_of_their_solutions(fitted: Objective) -> None:
    found = influence(fitted, query="samples:0", inverse="kfac", damping="1e-3")
    assert found.trouble() is None
    assert found.tol is None
    assert any(f"residual {found.worst_residual:.2g}" in one for one in found.remarks())


def test_scores_that_the_damping_decides_are_remarked(fitted: Objective) -> None:
    found = influence(fitted, query="held-out", damping="1e-3")
    assert found.agreement is not None
    remarked = any("the damping decides the ranks" in one for one in found.remarks())
    assert remarked == bool(found.agreement.min() < 0.9)


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "memorized"])
def test_results_with_and_without_memorized_samples_are_read_again(
    known: bool, classification: Data, fitted: Objective, tmp_path: Any
) -> None:
    plain = Objective(tanh_net(), classification, "cross_entropy")
    output = tmp_path / "run.landscape.h5"
    session.execute(Influence(query="samples:0", self_=True, damping="0.1"), fitted if known else plain, output=output)
    again: Any = landscape.read(output).influence
    assert (again.is_memorized is not None) == known


HELPFUL: dict[str, Any] = {
    **SCORES, "score_errors": np.full((4, 2), 0.01), "helpful_sample": np.array([2, 0]),
    "helpful_score": np.array([0.5, 0.3]), "agreement": np.array([0.95, 0.99]),
}  # fmt: skip


def test_the_most_helpful_sample_is_named_where_nothing_leaves_it_open() -> None:
    assert result_of(**HELPFUL).meaning() == (
        "training sample 2 helps the queries most: without it their mean loss would be higher by 0.5, to first order"
    )
    for doubt in (
        {"score_errors": np.full((4, 2), 0.06)},
        {"agreement": np.array([0.5, 0.99])},
        {"stationarity": 0.5},
        {"tol": None},
        {"helpful_score": np.array([-0.1, -0.9])},
        {"helpful_sample": np.array([2]), "helpful_score": np.array([0.5])},
    ):
        assert result_of(**{**HELPFUL, **doubt}).meaning() == "", doubt


@pytest.mark.parametrize(("auroc", "words"), [(0.93, "in 93 % of all pairs"), (0.51, "")])
def test_memorized_samples_are_named_if_their_self_influence_stands_out(auroc: float, words: str) -> None:
    found = result_of(
        score=np.array(["loss", "self_influence"]), auroc=np.array([0.9, auroc]), auroc_se=np.array([0.01, 0.01])
    )
    assert found.meaning().endswith(words)
    assert bool(found.meaning()) == bool(words)
