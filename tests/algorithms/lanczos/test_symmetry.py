"""Symmetric operators pass, and those with a wrong second derivative do not."""

from __future__ import annotations

import pytest
import torch
from oracles.dense import MatrixOperator, symmetric

from landscape.algorithms.lanczos.symmetry import product_if_symmetric
from landscape.errors import NumericalError


def test_the_product_of_a_symmetric_operator() -> None:
    operator = symmetric(range(-5, 15))
    vector = torch.linspace(0, 1, 20, dtype=torch.float64)
    assert torch.equal(product_if_symmetric(operator, vector, 0), operator.matrix @ vector)


def test_a_matrix_that_is_not_symmetric_is_an_error() -> None:
    matrix = torch.triu(torch.ones(20, 20, dtype=torch.float64))
    with pytest.raises(NumericalError, match=r"not symmetric.*\|\|A\|\| is about"):
        product_if_symmetric(MatrixOperator(matrix), torch.ones(20, dtype=torch.float64), 0)


def test_rounding_is_no_asymmetry_even_where_the_product_is_tiny() -> None:
    """A v = 0 up to rounding: the scale is then that of a random vector's product."""
    matrix = symmetric([0.0, *range(1, 20)]).matrix
    _, vectors = torch.linalg.eigh(matrix)
    skew = torch.randn(20, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1e-3
    product = product_if_symmetric(MatrixOperator(matrix + skew - skew.T), vectors[:, 0], 0)
    assert float(product.norm()) < 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_product_that_is_not_finite_is_no_symmetric_one(value: float) -> None:
    matrix = symmetric(range(-5, 15)).matrix.clone()
    matrix[3, 3] = value
    with pytest.raises(NumericalError, match="not finite"):
        product_if_symmetric(MatrixOperator(matrix), torch.ones(20, dtype=torch.float64), 0)
