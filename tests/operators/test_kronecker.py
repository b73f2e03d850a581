"""Kronecker matrices, their inverses and their quadratic forms against dense ones."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from small_influences import kronecker_of
from token_models import Texts, next_tokens
from torch import Tensor

from landscape import Objective
from landscape.errors import NumericalError

Data = tuple[Tensor, Tensor]


def test_inverse_and_quadratic_forms_are_those_of_the_dense_matrix(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    operator = kronecker_of(objective, corrected=True)
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
    operator = kronecker_of(objective, corrected=False)
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
        kronecker_of(objective, corrected=False).inverse(0.0)
