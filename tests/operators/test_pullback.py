"""Vector-Jacobian products, by a loop and vmapped, against the Jacobian written out."""

from __future__ import annotations

import pytest
import torch
from product_cases import Valued
from torch import Tensor

from landscape.errors import TaskError
from landscape.operators import pullback
from landscape.operators.pullback import NoBatchingError, pull_back


@pytest.fixture
def x() -> Tensor:
    return torch.linspace(-1, 2, 4, dtype=torch.float64, requires_grad=True)


VECTORS = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def outputs_of(x: Tensor) -> Tensor:
    return torch.stack([(x**3).sum(), x[0] * x[1]])


@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["with vectors", "through a scalar"])
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 5, 9])
def test_rows_are_vectors_times_the_jacobian(
    x: Tensor, chunk_size: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pullback, "SCALAR_ENTRIES", limit)
    jacobian = torch.autograd.functional.jacobian(outputs_of, x.detach())  # type: ignore[no-untyped-call]
    (rows,) = pull_back([outputs_of(x)], [x], [VECTORS], chunk_size=chunk_size)
    assert torch.allclose(rows, VECTORS @ jacobian, rtol=1e-13)


def test_no_vectors_give_no_rows(x: Tensor) -> None:
    (rows,) = pull_back([outputs_of(x)], [x], [VECTORS[:0]])
    assert rows.shape == (0, 4)


@pytest.mark.parametrize("chunk_size", [1, 5])
def test_inputs_that_are_not_used_get_zeros(x: Tensor, chunk_size: int) -> None:
    unused = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    _, rows = pull_back([outputs_of(x)], [x, unused], [VECTORS], chunk_size=chunk_size, allow_unused=True)
    assert rows.shape == (5, 2, 3)
    assert not rows.any()


@pytest.mark.parametrize("chunk_size", [1, 2])
def test_a_graph_serves_again_only_if_it_is_retained(x: Tensor, chunk_size: int) -> None:
    output = outputs_of(x)
    first = pull_back([output], [x], [VECTORS], chunk_size=chunk_size, retain_graph=True)
    second = pull_back([output], [x], [VECTORS], chunk_size=chunk_size)
    assert torch.equal(first[0], second[0])
    with pytest.raises((TaskError, NoBatchingError), match="second time"):
        pull_back([output], [x], [VECTORS], chunk_size=chunk_size)


def test_an_operation_without_a_vmap_rule_is_named_as_such(x: Tensor) -> None:
    (gradient,) = torch.autograd.grad(Valued()(x).sum(), x, create_graph=True)
    vectors = torch.eye(4, dtype=torch.float64)
    (rows,) = pull_back([gradient], [x], [vectors], retain_graph=True)
    assert torch.allclose(rows, 2 * vectors)
    with pytest.raises(NoBatchingError):
        pull_back([gradient], [x], [vectors], chunk_size=4)


def test_an_operation_without_a_second_derivative_is_an_error_of_the_model() -> None:
    y = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.linalg.matrix_norm(y, ord=1).sum() + (y * 0).sum(), y, create_graph=True)
    constant = gradient.detach().requires_grad_()
    with pytest.raises(TaskError, match=r"no second derivative.*\n.*empirical-fisher.* need none"):
        pull_back([constant * 1], [y], [torch.ones(1, 3, 3, dtype=torch.float64)])
