"""The contract of analyses for every inverse, and what the options refuse."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_contract import AnalysisContract
from torch import Tensor

from landscape import Influence, Objective
from landscape.errors import UsageError

from memorized import fit_net  # isort: skip


class TestByIterations(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Influence:
        return Influence(query="held-out:0-2", self_=True, top=3)

    @pytest.fixture
    def objective(self, classification: tuple[Tensor, Tensor]) -> Objective:
        return fit_net(classification)


class TestByFactors(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Influence:
        return Influence(query="held-out", inverse="ekfac", each=False, top=3)

    @pytest.fixture
    def objective(self, classification: tuple[Tensor, Tensor]) -> Objective:
        return fit_net(classification)


class TestOfItself(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Influence:
        return Influence(damping="1e-3")

    @pytest.fixture
    def objective(self, classification: tuple[Tensor, Tensor]) -> Objective:
        return fit_net(classification)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"damping": "0"}, "--damping is 0"),
        ({"damping": "little"}, "--damping is little"),
        ({"operator": "preconditioned"}, "other coordinates"),
        ({"each": True}, "are about queries"),
        ({"tol": 2.0}, "--tol is 2.0"),
    ],
    ids=["zero", "word", "preconditioned", "each", "tol"],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Influence(**options)


def test_defaults_follow_from_the_queries(fitted: Objective) -> None:
    def sizes(**options: Any) -> tuple[Any, ...]:
        fitting = Influence(**options).fit_budget(fitted)
        return fitting.inverse, fitting.each, fitting.precondition, fitting.scores_itself

    assert sizes() == ("ekfac", None, "none", True)
    assert sizes(query="held-out") == ("cg", True, "nystrom", False)
    assert sizes(query="samples", each=False, self_=True) == ("cg", False, "nystrom", True)
    assert sizes(query="samples:0", operator="hessian") == ("cg", True, "none", False)
    assert sizes(query="samples:0", inverse="kfac") == ("kfac", True, "none", False)


def test_many_queries_are_a_mean_by_default(classification: tuple[Tensor, Tensor]) -> None:
    x, y = classification
    objective = fit_net((x.repeat(3, 1), y.repeat(3)))  # held-out has 56 samples
    assert Influence(query="held-out").fit_budget(objective).each is False


def test_a_damping_is_stored_as_a_number() -> None:
    assert Influence(damping="0.0010").damping == Influence(damping="1e-3").damping == "0.001"
    assert Influence(damping=1e-3).damping == "0.001"  # type: ignore[arg-type]
