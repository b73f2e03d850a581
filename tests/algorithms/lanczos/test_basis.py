"""Operations on orthonormal rows: each against the identity that defines it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.algorithms.lanczos import basis
from landscape.algorithms.lanczos.basis import (
    allocate,
    eigh,
    orthogonalize,
    random_unit_vector,
    require_finite,
    rotate,
    rounding_floor,
)
from landscape.compute.inner_products import norm
from landscape.errors import NumericalError


def orthonormal(rows: int, size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    q, _ = torch.linalg.qr(torch.randn(size, rows, generator=generator, dtype=torch.float64))
    return q.T.contiguous().to(dtype)


@pytest.mark.parametrize("vectors", [1, 3])
def test_a_vector_is_its_parts_along_the_rows_and_what_is_orthogonal_to_them(vectors: int) -> None:
    rows = orthonormal(4, 20)
    original = torch.randn(vectors, 20, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    rest = original.clone()
    parts = orthogonalize(rest, rows)
    assert parts.shape == (4, vectors)
    assert torch.allclose(rest + torch.from_numpy(parts).T @ rows, original, rtol=1e-14)
    assert float((rows @ rest.T).abs().max()) < 1e-14


def test_nearly_dependent_vectors_are_orthogonal_to_working_precision() -> None:
    """One sweep leaves 1e-8 of a vector that lies 1e-8 outside of the rows' span: two sweeps are made."""
    rows = orthonormal(5, 50)
    outside = random_unit_vector(rows, 0, 0)
    vector = (rows.sum(dim=0) + 1e-8 * outside)[None]
    orthogonalize(vector, rows)
    vector /= norm(vector)
    assert float((rows @ vector[0]).abs().max()) < 1e-13
    assert abs(float(vector[0] @ outside)) == pytest.approx(1, abs=1e-6)


def test_random_unit_vectors_are_orthogonal_and_depend_on_their_path_alone() -> None:
    rows = orthonormal(6, 30)
    vector = random_unit_vector(rows, 1, 7)
    assert norm(vector) == pytest.approx(1, rel=1e-14)
    assert float((rows @ vector).abs().max()) < 1e-14
    assert torch.equal(vector, random_unit_vector(rows, 1, 7))
    others = [random_unit_vector(rows, *path) for path in ((2, 7), (1, 8), (1, 7, 1))]
    assert all(abs(float(other @ vector)) < 0.9 for other in others)


def test_rotation_may_write_over_the_rows_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "ROTATION_CHUNK", 7)
    rows = orthonormal(4, 20)
    coefficients = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0][:2]
    expected = torch.from_numpy(coefficients) @ rows
    rotate(rows, coefficients, rows[:2])
    assert torch.allclose(rows[:2], expected, rtol=1e-14)


def test_eigenpairs_of_a_small_matrix() -> None:
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    values, vectors = eigh(matrix)
    assert values == pytest.approx([1, 3])
    assert matrix @ vectors == pytest.approx(vectors * values)


def test_the_floor_is_ten_epsilons_of_the_scale() -> None:
    assert rounding_floor(torch.float32, 3.0) == pytest.approx(30 * 2.0**-23)
    assert rounding_floor(torch.float64, np.array([1.0, 2.0])) == pytest.approx([10 * 2.0**-52, 20 * 2.0**-52])


def test_norms_that_are_no_numbers_are_an_error() -> None:
    assert require_finite(np.array([1.0, 0.0])).tolist() == [1, 0]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericalError, match="not finite"):
            require_finite(np.array([1.0, bad]))


@pytest.mark.parametrize("spill", [False, True])
def test_room_has_the_dtype_of_the_prototype(spill: bool) -> None:
    room = allocate((3, 5), torch.zeros(2, dtype=torch.float32), spill=spill)
    assert room.shape == (3, 5)
    assert room.dtype == torch.float32
    assert room.device.type == "cpu"
