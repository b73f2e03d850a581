"""The sketched preconditioner: exact for matrices of low rank, fewer iterations, resumed to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import last, symmetric

import landscape
from landscape.algorithms.linear_systems.nystrom import initial_sketch, precondition_by, sketch_matrix
from landscape.errors import NumericalError
from landscape.operators import LinearOperator

SIZE = 80


def preconditioner(operator: LinearOperator, rank: int, damping: float) -> LinearOperator:
    sketch = last(sketch_matrix(operator, rank, 8, 0, initial_sketch(operator, rank)))
    return precondition_by(operator, sketch, damping, 0)


def test_the_eigenvalues_that_a_sketch_holds_become_equal() -> None:
    """Of rank 10 with 12 vectors: 1 + damping on the range, whose smallest eigenvalue is 1, and damping elsewhere."""
    matrix = symmetric(np.concatenate([np.zeros(70), np.linspace(1, 2, 10)]))
    found = preconditioner(matrix, 12, 0.1).to_dense() @ (matrix.matrix + 0.1 * torch.eye(SIZE, dtype=torch.float64))
    values = torch.linalg.eigvals(found).real.sort().values
    assert torch.allclose(values[:70], torch.full((70,), 0.1, dtype=torch.float64), rtol=1e-6)
    assert torch.allclose(values[70:], torch.full((10,), 1.1, dtype=torch.float64), rtol=1e-6)


def test_it_saves_iterations_of_a_decaying_spectrum() -> None:
    matrix = symmetric(np.geomspace(1, 1e-8, SIZE))
    vector = torch.ones(SIZE, dtype=torch.float64)
    plain = landscape.solve(matrix, vector, damping=1e-6, tol=1e-6)
    sketched = landscape.solve(matrix, vector, damping=1e-6, tol=1e-6, preconditioner=preconditioner(matrix, 40, 1e-6))
    assert plain.converged
    assert sketched.converged
    assert sketched.iterations[0] < plain.iterations[0] / 3
    assert torch.allclose(sketched.x, plain.x, rtol=1e-3, atol=1e-3 * float(plain.x.abs().max()))


def test_a_sketch_goes_on_to_the_same_bits() -> None:
    matrix = symmetric(np.geomspace(1, 1e-3, SIZE))
    whole = last(sketch_matrix(matrix, 20, 8, 0, initial_sketch(matrix, 20)))
    first = next(sketch_matrix(matrix, 20, 8, 0, initial_sketch(matrix, 20)))
    assert first.done == 8
    assert torch.equal(last(sketch_matrix(matrix, 20, 8, 0, first)).images, whole.images)


def test_an_indefinite_matrix_is_refused() -> None:
    with pytest.raises(NumericalError, match="not positive semidefinite"):
        preconditioner(symmetric(np.linspace(-1, 1, SIZE)), 20, 0.1)
