"""Inner products and norms against exact rational sums, with vectors longer than a chunk."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.compute import inner_products
from landscape.compute.inner_products import CHUNK, distance, dot, gram, norm, row_dots, row_norms


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_products, "CHUNK", 7)


def rows(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def exact(left: torch.Tensor, right: torch.Tensor) -> float:
    """The inner product in rational arithmetic."""
    return float(sum(Fraction(a) * Fraction(b) for a, b in zip(left.tolist(), right.tolist(), strict=True)))


@pytest.mark.parametrize("size", [1, 6, 7, 8, 20, 21])
@pytest.mark.usefixtures("short_chunks")
def test_sums_over_chunks_are_exact_to_float64_rounding(size: int) -> None:
    one, other = rows(3, size), rows(3, size, seed=1)
    for a, b in zip(one, other, strict=True):
        assert dot(a, b) == pytest.approx(exact(a, b), rel=1e-13, abs=1e-15)
        assert norm(a) == pytest.approx(math.sqrt(exact(a, a)), rel=1e-14)
        assert distance(a, b) == pytest.approx(math.sqrt(exact(a.double() - b.double(), a.double() - b.double())))
    products = [exact(a, b) for a, b in zip(one, other, strict=True)]
    assert row_dots(one, other).tolist() == pytest.approx(products, rel=1e-13, abs=1e-15)
    assert row_norms(one).tolist() == pytest.approx([math.sqrt(exact(a, a)) for a in one], rel=1e-14)
    table = [exact(a, b) for a in one for b in other[:2]]
    assert gram(one, other[:2]).flatten().tolist() == pytest.approx(table, rel=1e-12, abs=1e-14)


@pytest.mark.usefixtures("short_chunks")
def test_squares_of_single_precision_neither_underflow_nor_overflow() -> None:
    assert norm(torch.full((16,), 1e-30)) == pytest.approx(4e-30, rel=1e-6)
    assert norm(torch.full((16,), 1e30)) == pytest.approx(4e30, rel=1e-6)
    assert distance(torch.full((16,), 2e-30), torch.full((16,), 1e-30)) == pytest.approx(4e-30, rel=1e-6)


def test_numbers_and_matrices_have_norms_too() -> None:
    assert norm(torch.tensor(-2.0)) == distance(torch.tensor(1.0), torch.tensor(3.0)) == 2
    assert distance(torch.zeros(3, 3), torch.eye(3)) == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.usefixtures("short_chunks")
def test_numbers_that_are_not_finite_are_seen_in_the_last_chunk_too(value: float) -> None:
    vector = torch.ones(16)
    vector[-1] = value
    assert not math.isfinite(norm(vector))
    assert not math.isfinite(dot(vector, vector))
    assert not row_norms(vector[None]).isfinite().all()


class _Largest(TorchDispatchMode):
    """The largest result of any operation outside the memory of given tensors, in bytes."""

    def __init__(self, *given: torch.Tensor) -> None:
        super().__init__()
        self.given = {tensor.untyped_storage().data_ptr() for tensor in given}
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.given:
                self.bytes = max(self.bytes, tensor.nbytes)
        return result


def test_no_copy_of_a_long_vector_is_made() -> None:
    one, other = torch.ones(3 * CHUNK + 5), torch.ones(3 * CHUNK + 5)
    with _Largest(one, other) as largest:
        assert norm(one) == pytest.approx(math.sqrt(3 * CHUNK + 5))
        assert dot(one, other) == 3 * CHUNK + 5
        assert distance(one, other) == 0
        assert gram(one[None], other[None]).item() == 3 * CHUNK + 5
    assert largest.bytes <= 8 * CHUNK
