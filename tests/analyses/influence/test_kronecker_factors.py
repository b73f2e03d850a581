"""K-FAC and EK-FAC of a model's layers where theory makes them exact, and which parameters have factors."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from resumed_runs import resumed_results
from small_influences import kronecker_of
from token_models import Texts, Tokens, labeled_tokens, next_tokens
from torch import Tensor, nn

import landscape
from landscape import Influence, Objective
from landscape.analyses.influence.kronecker_factors import find_factored_maps, measure_kronecker
from landscape.errors import TaskError, UsageError
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]


def apart(left: Tensor, right: Tensor) -> float:
    return float(torch.linalg.norm(left - right) / torch.linalg.norm(right))


@pytest.fixture
def regression(generator: torch.Generator) -> Data:
    return torch.randn(24, 5, generator=generator), torch.randn(24, 3, generator=generator)


@pytest.mark.parametrize("corrected", [False, True], ids=["kfac", "ekfac"])
class TestExactCases:
    def test_one_layer_with_its_bias_and_squared_error(
        self, regression: Data, split: Splitter, corrected: bool
    ) -> None:
        torch.manual_seed(0)
        objective = Objective(nn.Linear(5, 3), split(*regression), "mse", dtype="float64")
        found = kronecker_of(objective, corrected=corrected).to_dense()
        assert apart(found, GaussNewtonOperator(objective).to_dense()) < 1e-12

    def test_the_blocks_of_any_net_on_one_sample(self, classification: Data, corrected: bool) -> None:
        x, y = classification
        objective = Objective(tanh_net(), (x[:1], y[:1]), "cross_entropy", dtype="float64")
        blocks = GaussNewtonOperator(objective).block_diagonal(objective.space.layers()).to_dense()
        assert apart(kronecker_of(objective, corrected=corrected).to_dense(), blocks) < 1e-12


def test_kfac_of_logistic_regression_is_the_product_of_its_factors(classification: Data) -> None:
    x, y = classification
    torch.manual_seed(0)
    net = nn.Linear(5, 3).double()
    p = net(x.double()).softmax(1).detach()
    of_outputs = (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0)
    inputs = torch.cat([x, torch.ones(24, 1)], dim=1).double()
    wanted = torch.kron(of_outputs, inputs.T @ inputs / 24).reshape(3, 6, 3, 6)
    found = kronecker_of(Objective(net, (x, y), "cross_entropy", dtype="float64"), corrected=False).to_dense()
    assert torch.allclose(found[:15, :15].reshape(3, 5, 3, 5), wanted[:, :5, :, :5])
    assert torch.allclose(found[:15, 15:].reshape(3, 5, 3), wanted[:, :5, :, 5])
    assert torch.allclose(found[15:, 15:], wanted[:, 5, :, 5])


NETS = {
    "dense": lambda generator: (tanh_net(), (torch.randn(24, 5, generator=generator), torch.arange(24) % 3)),
    "tokens": lambda generator: (Tokens(), labeled_tokens(generator)),
    "images": lambda generator: (
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3)),
        (torch.randn(12, 1, 4, 4, generator=generator), torch.arange(12) % 3),
    ),
}


@pytest.mark.parametrize("make", NETS.values(), ids=list(NETS))
def test_ekfac_has_the_diagonal_of_the_matrix_between_its_eigenvectors(
    make: object, generator: torch.Generator
) -> None:
    torch.manual_seed(0)
    net, (x, y) = make(generator)  # type: ignore[operator]
    y = y.transpose(1, 2) if y.ndim == 3 else y
    data = [(x[:7], y[:7]), (x[7:], y[7:])]
    objective = Objective(net, data, "cross_entropy", dtype="float64")
    operator, matrix = kronecker_of(objective, corrected=True), GaussNewtonOperator(objective).to_dense()
    for one in operator.spectra:
        basis = torch.kron(one.left, one.right)  # rows in the order of the layer's matrix (p, q)
        inputs, size = one.layer.inputs, len(one.right)
        places = torch.zeros(len(one.left), size, dtype=torch.long)
        numbers = objective.space.unflatten(torch.arange(objective.space.size, dtype=torch.float64))
        places[:, :inputs] = one.layer.matrix(numbers[one.layer.parameter]).long()
        if one.bias:
            places[:, -1] = numbers[one.bias].long()
        block = matrix[places.flatten()][:, places.flatten()]
        assert torch.allclose((basis.T @ block @ basis).diag(), one.values.flatten(), rtol=1e-9, atol=1e-12)


def test_corrected_eigenvalues_are_nearer_to_the_matrix_and_have_its_trace(fitted: Objective) -> None:
    """Between fixed eigenvectors no diagonal is nearer in the Frobenius norm (George et al. 2018, theorem 2)."""
    blocks = GaussNewtonOperator(fitted).block_diagonal(fitted.space.layers()).to_dense()
    plain, corrected = (kronecker_of(fitted, corrected=one).to_dense() for one in (False, True))
    assert apart(corrected, blocks) < apart(plain, blocks)
    assert float(corrected.trace()) == pytest.approx(float(blocks.trace()), rel=1e-9)


def test_factors_do_not_depend_on_how_the_data_are_cut(classification: Data, split: Splitter) -> None:
    cut, whole = (
        kronecker_of(Objective(tanh_net(), data, "cross_entropy", dtype="float64"), corrected=True).to_dense()
        for data in (split(*classification), [classification])
    )
    assert apart(cut, whole) < 1e-10


@pytest.mark.parametrize("corrected", [False, True], ids=["kfac", "ekfac"])
def test_a_resumed_measurement_has_the_same_bits(classification: Data, corrected: bool) -> None:
    x, y = classification
    batches = list(zip(x.split(9), y.split(9), strict=True))
    objective = Objective(tanh_net(), batches, "cross_entropy", dtype="float64")
    layers = find_factored_maps(Influence(), objective)
    whole, resumed = resumed_results(partial(measure_kronecker, layers, objective, corrected=corrected))
    assert len(resumed) > 2
    assert all(torch.equal(one.to_dense(), whole.to_dense()) for one in resumed)


def test_a_bias_that_two_layers_share_belongs_to_neither() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    net[2].bias = net[0].bias
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    found = find_factored_maps(Influence(), Objective(net, (x, x), "mse"))
    assert found.biases == (None, None)
    assert found.left_out == ("0.bias",)
    assert found.notes == ("without Kronecker factors: 0.bias",)


def test_parameters_that_are_not_measured_are_no_part_of_the_matrix(classification: Data) -> None:
    chosen = Objective(tanh_net(), classification, "cross_entropy", params=("*.weight",), dtype="float64")
    found = find_factored_maps(Influence(), chosen)
    assert found.biases == (None, None)
    assert found.notes == ()
    every = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    inside = every.space.mask(("*.weight",), "--params")
    whole = kronecker_of(every, corrected=False).to_dense()
    assert apart(kronecker_of(chosen, corrected=False).to_dense(), whole[inside][:, inside]) < 1e-10


def test_parameters_without_factors_are_named(generator: torch.Generator) -> None:
    objective = Objective(Texts(), next_tokens(generator), "cross_entropy")
    found: Any = landscape.run(Influence(damping="0.1"), objective)
    assert found.notes == ("without Kronecker factors: tokens.weight",)
    assert found.covered == pytest.approx(1 - 28 / objective.space.size)


def test_weight_decay_is_in_no_factor(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", weight_decay=0.1)
    with pytest.raises(UsageError, match="--weight-decay does not belong"):
        find_factored_maps(Influence(), objective)


def test_a_model_without_linear_layers_is_refused() -> None:
    table = nn.Embedding(5, 3)
    objective = Objective(table, (torch.arange(5), torch.arange(5) % 3), "cross_entropy")
    with pytest.raises(TaskError, match="calls no linear layer"):
        find_factored_maps(Influence(), objective)
