"""Kronecker matrices and their inverses against dense ones, K-FAC and EK-FAC where theory makes them exact."""

from __future__ import annotations

import pytest
import torch
from analysis_contract import drained
from conftest import Splitter, tanh_net
from token_models import Texts, Tokens, labeled_tokens, next_tokens
from torch import Tensor, nn

from landscape import Influence, Objective
from landscape.analyses.influence.kronecker_factors import find_factored_maps, measure_kronecker
from landscape.errors import NumericalError
from landscape.operators import GaussNewtonOperator
from landscape.operators.kronecker import KroneckerOperator

Data = tuple[Tensor, Tensor]


def kronecker(objective: Objective, *, corrected: bool) -> KroneckerOperator:
    found = find_factored_maps(Influence(), objective)
    operator: KroneckerOperator = drained(measure_kronecker(found, objective, {}, corrected=corrected))[1]
    return operator


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
        found = kronecker(objective, corrected=corrected).to_dense()
        assert apart(found, GaussNewtonOperator(objective).to_dense()) < 1e-12

    def test_the_blocks_of_any_net_on_one_sample(self, classification: Data, corrected: bool) -> None:
        x, y = classification
        objective = Objective(tanh_net(), (x[:1], y[:1]), "cross_entropy", dtype="float64")
        blocks = GaussNewtonOperator(objective).block_diagonal(objective.space.layers()).to_dense()
        assert apart(kronecker(objective, corrected=corrected).to_dense(), blocks) < 1e-12


def test_kfac_of_logistic_regression_is_the_product_of_its_factors(classification: Data) -> None:
    x, y = classification
    torch.manual_seed(0)
    net = nn.Linear(5, 3).double()
    p = net(x.double()).softmax(1).detach()
    of_outputs = (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0)
    inputs = torch.cat([x, torch.ones(24, 1)], dim=1).double()
    wanted = torch.kron(of_outputs, inputs.T @ inputs / 24).reshape(3, 6, 3, 6)
    found = kronecker(Objective(net, (x, y), "cross_entropy", dtype="float64"), corrected=False).to_dense()
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
    operator, matrix = kronecker(objective, corrected=True), GaussNewtonOperator(objective).to_dense()
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


def test_inverse_and_quadratic_forms_are_those_of_the_dense_matrix(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    operator = kronecker(objective, corrected=True)
    dense, identity = operator.to_dense(), torch.eye(operator.size, dtype=torch.float64)
    assert bool(operator.covered.all())
    assert torch.allclose(operator.inverse(0.1).to_dense(), torch.linalg.inv(dense + 0.1 * identity), rtol=1e-9)
    rows = torch.randn(4, operator.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = operator.inverse_quadratics(rows, [0.1, 1.0])
    for place, damping in enumerate((0.1, 1.0)):
        wanted = (rows @ torch.linalg.inv(dense + damping * identity) * rows).sum(dim=1)
        assert torch.allclose(found[:, place], wanted, rtol=1e-9)
    assert operator.mean_eigenvalue == pytest.approx(float(dense.trace()) / operator.size)


def test_parameters_outside_layers_have_the_rest(generator: torch.Generator) -> None:
    objective = Objective(Texts(), next_tokens(generator), "cross_entropy", dtype="float64")
    operator = kronecker(objective, corrected=False)
    outside = ~operator.covered
    assert int(outside.sum()) == 28  # the embedding
    assert not operator.to_dense()[outside].any()
    inverse = operator.inverse(0.1, rest=5.0).to_dense()
    assert torch.equal(inverse[outside][:, outside], 5 * torch.eye(28, dtype=torch.float64))
    assert torch.allclose(operator.inverse(0.1).to_dense()[outside][:, outside], 10 * torch.eye(28).double())


def test_a_singular_matrix_without_damping_is_refused(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), (x[:1], y[:1]), "cross_entropy", dtype="float64")
    with pytest.raises(NumericalError, match="singular"):
        kronecker(objective, corrected=False).inverse(0.0)
