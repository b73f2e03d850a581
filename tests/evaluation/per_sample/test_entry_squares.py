"""Sums of squares of entries by every formula, against the gradients of all samples one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.evaluation.per_sample import entry_squares
from landscape.evaluation.per_sample.entry_squares import (
    EntrySquares,
    add_samples,
    outer_entry_squares,
    row_squares,
    table_entry_squares,
)

K, N, T, Q, P = 3, 7, 4, 5, 2


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(params=[1, 1 << 20], ids=["one-at-a-time", "together"])
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_squares, "OUTER_BYTES", request.param)
    monkeypatch.setattr(entry_squares, "ROW_BYTES", request.param)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def signs() -> Tensor:
    return torch.where(normal(K, N) < 0, -1.0, 1.0).double()


def check(found: EntrySquares, rows: Tensor, given: Tensor | None) -> None:
    """Compares with the definition, from the gradients `(K, N, *shape)`."""
    squares = rows.double() ** 2
    if given is None:
        expected = squares.mean(dim=0).sum(dim=0)
        assert found.variances is not None
        variances = ((squares - squares.mean(dim=0)) ** 2).sum(dim=0).sum(dim=0) / (K - 1) / K
        torch.testing.assert_close(found.variances, variances, rtol=1e-4, atol=0)
    else:
        expected = (given.reshape(K, N, *[1] * (rows.ndim - 2)) * squares).sum(dim=(0, 1))
        assert found.variances is None
    size = float(squares.sum(dim=(0, 1)).max())
    torch.testing.assert_close(found.sums, expected, rtol=1e-4, atol=1e-6 * size)
    torch.testing.assert_close(found.squares, squares.reshape(K, N, -1).sum(dim=2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("given", [None, signs()], ids=["draws", "signs"])
def test_rows_are_squared_and_not_changed(given: Tensor | None, dtype: torch.dtype) -> None:
    rows = normal(K, N, Q, P, dtype=dtype)
    before = rows.clone()
    check(row_squares(rows, given), rows, given)
    check(row_squares(rows[..., 0, 0], given), rows[..., 0, 0], given)
    assert torch.equal(rows, before)


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("tokens", [1, T])
@pytest.mark.parametrize("given", [None, signs()], ids=["draws", "signs"])
def test_outer_products_are_summed_over_rows_before_they_are_squared(
    given: Tensor | None, tokens: int, dtype: torch.dtype
) -> None:
    inputs, gradients = normal(N, tokens, Q, dtype=dtype), normal(K, N, tokens, P, dtype=dtype)
    before = inputs.clone(), gradients.clone()
    rows = torch.einsum("kntp,ntq->knpq", gradients, inputs)
    check(outer_entry_squares(inputs, gradients, given), rows, given)
    assert torch.equal(inputs, before[0])
    assert torch.equal(gradients, before[1])


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("given", [None, signs()], ids=["draws", "signs"])
def test_a_row_that_a_sample_looks_up_several_times_is_squared_once(given: Tensor | None, dtype: torch.dtype) -> None:
    tokens = torch.tensor([[0, 1, 0, 0], [2, 2, 2, 2], [0, 1, 2, 4], [4, 4, 1, 1], [0, 0, 1, 1], [2, 1, 0, 2], [1] * 4])
    gradients = normal(K, N, T, P, dtype=dtype)
    rows = torch.zeros(K, N, 6, P, dtype=dtype)
    for sample in range(N):
        rows[:, sample].index_add_(1, tokens[sample], gradients[:, sample])
    found = table_entry_squares(tokens, gradients, 6, given)
    check(found, rows, given)
    assert not found.sums[[3, 5]].any()


def test_squares_of_tiny_gradients_do_not_underflow() -> None:
    inputs, gradients = torch.full((2, 1, 3), 1e-12), torch.full((1, 2, 1, 2), 1e-20)
    given = torch.ones(1, 2, dtype=torch.float64)
    found = outer_entry_squares(inputs, gradients, given)
    torch.testing.assert_close(found.sums, torch.full((2, 3), 2e-64, dtype=torch.float64), rtol=1e-5, atol=0)
    rows = row_squares(gradients[:, :, 0], given)
    torch.testing.assert_close(rows.sums, torch.full((2,), 2e-40, dtype=torch.float64), rtol=1e-5, atol=0)


def test_samples_after_others_add_up() -> None:
    rows = normal(K, N, Q)
    parts = add_samples(row_squares(rows[:, piece], None) for piece in (slice(0, 3), slice(3, N)))
    check(parts, rows, None)


def test_gradients_of_zero_have_squares_of_zero() -> None:
    found = row_squares(torch.zeros(K, N, Q), signs())
    assert not found.sums.any()
    assert not found.squares.any()
