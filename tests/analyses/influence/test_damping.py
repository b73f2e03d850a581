"""The damping as given, and what the spectrum of a known matrix makes of auto."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained
from conftest import tanh_net
from small_influences import influence, kronecker_of, rows
from torch import Tensor, nn

from landscape import Influence, Objective
from landscape.analyses.influence.damping import PROBES, Damping, choose_damping
from landscape.errors import NumericalError, TaskError
from landscape.operators import operator

CG = Influence(query="samples:0", inverse="cg")


def chosen(objective: Objective, analysis: Influence = CG, width: int = 32) -> Damping:
    damping: Damping = drained(choose_damping(analysis, objective, None, width, {}))[1]
    return damping


def regression(inputs: Tensor) -> Objective:
    """A linear regression without bias, whose Gauss-Newton matrix is 2 X'X / N."""
    return Objective(nn.Linear(inputs.shape[1], 1, bias=False), (inputs, inputs[:, :1]), "mse", dtype="float64")


def test_auto_is_a_share_of_the_weighted_mean_eigenvalue_within_its_error(fitted: Objective) -> None:
    found = influence(fitted, query="samples:0")
    dense = operator("ggn", fitted).to_dense()
    assert found.eigenvalue is not None
    assert found.eigenvalue_se is not None
    assert abs(found.eigenvalue - float((dense @ dense).trace() / dense.trace())) < 4 * found.eigenvalue_se
    assert found.damping == pytest.approx(0.03 * found.eigenvalue)


@pytest.mark.parametrize("inverse", ["kfac", "ekfac"])
def test_auto_gives_each_layer_a_tenth_of_its_mean(inverse: str, fitted: Objective) -> None:
    found = influence(fitted, query="samples:3", inverse=inverse, self_=True)
    dense = kronecker_of(fitted, corrected=inverse == "ekfac").to_dense()
    damping = torch.zeros(fitted.space.size, dtype=torch.float64)
    for group in fitted.space.layers():
        ((begin, end),) = group.ranges
        damping[begin:end] = 0.1 * dense[begin:end, begin:end].diag().mean()
    inverted, gradients = torch.linalg.inv(dense + damping.diag()), rows(fitted)
    assert np.allclose(found.scores, gradients @ inverted @ gradients[[3]].T / 16, rtol=1e-6, atol=1e-12)
    assert np.allclose(found.self_influence, (gradients @ inverted * gradients).sum(dim=1) / 16, rtol=1e-6)
    matrix = operator("ggn", fitted).to_dense() + damping.diag()
    rest = gradients[3] - matrix @ inverted @ gradients[3]
    assert found.residual is not None
    assert found.residual[0] == pytest.approx(float(rest.norm() / gradients[3].norm()), rel=1e-6)
    assert any("each layer's damping" in note for note in found.notes)


def test_a_number_is_taken_as_it_is_and_costs_nothing(fitted: Objective) -> None:
    seen, damping = drained(choose_damping(replace(CG, damping="0.25"), fitted, None, 32, {}))
    assert seen == []
    assert damping == Damping(0.25)
    assert damping.pair == damping.layer_pair == (0.25, 2.5)


def test_each_layer_s_damping_is_compared_with_ten_times_itself() -> None:
    damping = Damping(0.2, (0.1, 0.3))
    assert damping.pair == (0.2, 2.0)
    assert damping.layer_pair == ((0.1, 0.3), (1.0, 3.0))


def test_a_multiple_of_the_identity_leaves_nothing_random() -> None:
    """2 X'X / N = I / 2 for X = I: both traces of every probe are exact."""
    damping = chosen(regression(torch.eye(4)))
    assert damping.eigenvalue == pytest.approx(0.5, rel=1e-12)
    assert damping.error == pytest.approx(0, abs=1e-12)
    assert damping.value == pytest.approx(0.015, rel=1e-12)
    assert damping.products == PROBES


def test_the_loss_times_ten_has_ten_times_the_damping() -> None:
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    small, large = chosen(regression(x)), chosen(regression(10**0.5 * x))
    assert large.value == pytest.approx(10 * small.value, rel=1e-6)
    assert large.error == pytest.approx(10 * small.error, rel=1e-6)


def test_the_standard_error_is_the_scatter_over_seeds() -> None:
    objective = regression(torch.randn(40, 12, generator=torch.Generator().manual_seed(0)))
    found = [chosen(objective, replace(CG, seed=seed)) for seed in range(60)]
    scatter = np.std([one.eigenvalue for one in found], ddof=1)
    assert np.sqrt(np.mean([one.error**2 for one in found])) == pytest.approx(scatter, rel=0.3)  # 3 / sqrt(2 x 60)


def test_products_of_fewer_columns_give_the_same(fitted: Objective) -> None:
    assert chosen(fitted, width=3).value == pytest.approx(chosen(fitted).value, rel=1e-12)


def test_a_resumed_run_takes_the_traces_that_are_known(fitted: Objective) -> None:
    """|Gz|^2 = 8 or 4 and z'Gz = 2: their ratio is 3, and the residuals are 2 or -2."""
    values = np.array([[8.0, 4.0] * (PROBES // 2), [2.0] * PROBES])
    seen, damping = drained(choose_damping(CG, fitted, None, 32, {"values": values}))
    assert seen == []
    assert damping.eigenvalue == 3
    assert damping.error == pytest.approx((PROBES / (PROBES - 1)) ** 0.5 * 2 / PROBES**0.5 / 2)


def test_a_matrix_of_zeros_has_no_damping() -> None:
    objective = regression(torch.zeros(4, 3))
    with pytest.raises(NumericalError, match="have the mean 0") as caught:
        chosen(objective)
    assert caught.value.fix == "--damping 1e-3"
    kronecker = kronecker_of(objective, corrected=False)
    with pytest.raises(NumericalError, match="have the mean 0"):
        drained(choose_damping(Influence(inverse="kfac"), objective, kronecker, 32, {}))


def test_an_objective_without_outputs_has_to_be_given_a_number(classification: tuple[Tensor, Tensor]) -> None:
    def own(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    objective = Objective(tanh_net(), [classification], objective=own)
    with pytest.raises(TaskError, match="--damping auto asks the Gauss-Newton matrix") as caught:
        chosen(objective)
    assert caught.value.fix == "--damping 1e-3"
    assert chosen(objective, replace(CG, damping="0.5")).value == 0.5
