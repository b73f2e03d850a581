"""Preconditioners: how many products a sketch takes, and what each makes of the spectrum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained
from conftest import tanh_net
from resumed_runs import resumed_results
from small_influences import dense_inverse, influence, kronecker_of, rows
from torch import Tensor, nn

from landscape import Influence, Objective
from landscape.algorithms.linear_systems.state import SolutionGoal
from landscape.analyses.influence import preconditioning
from landscape.analyses.influence.damping import Damping
from landscape.analyses.influence.preconditioning import build_preconditioner, sketch_rank
from landscape.analyses.influence.solving import Matrix
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]
NYSTROM = Influence(query="samples:0", inverse="cg", precondition="nystrom")
DAMPING = Damping(0.01)


@pytest.fixture
def few_samples() -> Objective:
    """A regression with 40 weights on 4 samples: the matrix has the rank 4."""
    x = torch.randn(4, 40, generator=torch.Generator().manual_seed(0))
    return Objective(nn.Linear(40, 1, bias=False), (x, x[:, :1]), "mse", dtype="float64")


def built(analysis: Influence, objective: Objective, width: int = 32) -> Any:
    """The yields and the preconditioner of the Gauss-Newton matrix."""
    matrix = Matrix(GaussNewtonOperator(objective), SolutionGoal(width=width), kronecker_of(objective, corrected=False))
    return drained(build_preconditioner(analysis, objective, matrix, DAMPING, {}))


@pytest.mark.parametrize("precondition", ["none", "nystrom", "kfac", "ekfac"])
def test_a_preconditioner_does_not_change_scores(precondition: str, classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:3", precondition=precondition, sketch=8, damping="0.01")
    gradients, dense = rows(objective), dense_inverse(objective, "cg", 0.01)
    assert np.allclose(found.scores, gradients @ dense @ gradients[[3]].T / 24, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "rank"),
    [({}, 5), ({"sketch": 3}, 3), ({"precondition": "none"}, 0), ({"precondition": "kfac"}, 0)],
    ids=["of-parameters", "as-asked", "none", "factors"],
)
def test_a_sketch_has_as_many_vectors_as_pay(changes: dict[str, Any], rank: int, few_samples: Objective) -> None:
    assert sketch_rank(replace(NYSTROM, **changes), few_samples) == rank  # 40 / 8


def test_a_sketch_has_no_more_vectors_than_fit(few_samples: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditioning, "vector_room", lambda *sizes: 2 * 8 * few_samples.theta.nbytes + 1)
    assert sketch_rank(NYSTROM, few_samples) == 2
    assert sketch_rank(NYSTROM, few_samples, {"images.shape": np.array([4, 40])}) == 4  # of the run that is resumed


def test_no_room_for_a_sketch_is_no_preconditioner(few_samples: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditioning, "vector_room", lambda *sizes: 0)
    assert built(NYSTROM, few_samples) == ([], None)


def test_without_a_preconditioner_nothing_is_multiplied(few_samples: Objective) -> None:
    assert built(replace(NYSTROM, precondition="none"), few_samples) == ([], None)


def test_a_sketch_makes_the_eigenvalues_that_it_found_equal(few_samples: Objective) -> None:
    """All 4 of them here: they become the smallest plus the damping, and all others are the damping."""
    matrix = GaussNewtonOperator(few_samples).to_dense()
    seen, preconditioner = built(NYSTROM, few_samples, width=2)
    assert [(one.done, one.total) for one in seen] == [(2, 5), (4, 5), (5, 5)]
    damped = matrix + DAMPING.value * torch.eye(40, dtype=torch.float64)
    found = np.sort(np.linalg.eigvals((preconditioner.to_dense() @ damped).numpy()).real)
    smallest = torch.linalg.eigvalsh(matrix)[-4]
    np.testing.assert_allclose(found[:36], DAMPING.value, rtol=1e-6)
    np.testing.assert_allclose(found[36:], float(smallest) + DAMPING.value, rtol=1e-6)


def test_a_resumed_sketch_gives_the_same_bits(few_samples: Objective) -> None:
    matrix = Matrix(GaussNewtonOperator(few_samples), SolutionGoal(width=2))
    whole, resumed = resumed_results(lambda saved: build_preconditioner(NYSTROM, few_samples, matrix, DAMPING, saved))
    assert len(resumed) == 3
    assert all(torch.equal(one.to_dense(), whole.to_dense()) for one in resumed)


def test_kronecker_factors_are_inverted_with_their_mean_outside_of_layers(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    objective = Objective(net, classification, "cross_entropy", dtype="float64")
    seen, preconditioner = built(replace(NYSTROM, precondition="kfac"), objective)
    kronecker = kronecker_of(objective, corrected=False)
    inside, dense = kronecker.covered, kronecker.to_dense()
    mean = dense.trace() / inside.sum()
    expected = (
        torch.where(inside, 0.0, mean).diag() + dense + DAMPING.value * torch.eye(len(dense), dtype=torch.float64)
    )
    assert seen == []
    assert int((~inside).sum()) == 8
    torch.testing.assert_close(preconditioner.to_dense(), torch.linalg.inv(expected), rtol=1e-8, atol=1e-10)
