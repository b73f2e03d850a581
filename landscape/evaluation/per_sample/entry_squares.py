"""Sums over samples of the squares of the entries of each sample's own gradients, and their variances over draws.

For K vectors in a sample's outputs there are K gradients of the sample. They are either the terms of a sum with signs,
or K random draws whose mean is meant; then the variance of that mean is known entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

OUTER_BYTES = 1 << 20  # of matrices of samples at once, for which there is room in a cache
ROW_BYTES = 64 << 20  # of rows of embeddings at once


class EntrySquares(NamedTuple):
    """Of one parameter, with signs: sum_nk sign_kn g_kn^2, in its shape; of K draws: sum_n mean_k g_kn^2.

    All are float64. `variances` are those of the sum of means over the draws, None with signs; `squares` `(K, n)` are
    |g_kn|^2.
    """

    sums: Tensor
    variances: Tensor | None
    squares: Tensor


def row_squares(rows: Tensor, signs: Tensor | None) -> EntrySquares:
    """From the gradients themselves, `(K, n, *shape)`, and their signs `(K, n)`, None for draws."""
    shape, flat = rows.shape[2:], rows.reshape(*rows.shape[:2], -1)
    if signs is None:
        squares = flat.double().square()
        variances = (squares.var(dim=0).sum(dim=0) / len(squares)).reshape(shape)
        return EntrySquares(squares.mean(dim=0).sum(dim=0).reshape(shape), variances, squares.sum(dim=2))
    squares, factor = _squares_and_scale(flat)
    sums = (signs.to(squares).flatten() @ squares.flatten(0, 1)).double() * factor
    return EntrySquares(sums.reshape(shape), None, squares.sum(dim=2, dtype=torch.float64) * factor)


def outer_entry_squares(inputs: Tensor, gradients: Tensor, signs: Tensor | None) -> EntrySquares:
    """Of G = sum_t g_t a_t', for inputs `(n, T, q)` and gradients `(K, n, T, p)`, in shape `(p, q)`.

    With one row t the square of each entry is a product, and the sum over samples one product of matrices. With more,
    G is computed for a few samples at a time.
    """
    if inputs.shape[1] == 1:
        return _single_outer(inputs[:, 0], gradients[:, :, 0], signs)
    size = inputs.itemsize * len(gradients) * gradients.shape[3] * inputs.shape[2]
    step = max(1, OUTER_BYTES // max(size, 1))
    pieces = [slice(first, first + step) for first in range(0, len(inputs), step)]
    return add_samples(
        row_squares(gradients[:, piece].mT @ inputs[piece], None if signs is None else signs[:, piece])
        for piece in pieces
    )


def table_entry_squares(tokens: Tensor, gradients: Tensor, size: int, signs: Tensor | None) -> EntrySquares:
    """Of the rows of a table of `size` rows that are looked up: tokens `(n, T)`, gradients `(K, n, T, d)`.

    The gradient of a row is the sum over the places where a sample has its token. It is computed at each of these
    places, and counted once.
    """
    step = max(1, ROW_BYTES // max(gradients[:, :1].nbytes, 1))
    pieces = [slice(first, first + step) for first in range(0, len(tokens), step)]
    return add_samples(
        _embedding_squares(tokens[piece], gradients[:, piece], size, None if signs is None else signs[:, piece])
        for piece in pieces
    )


def add_samples(parts: Iterable[EntrySquares]) -> EntrySquares:
    """The squares of all samples from those of some samples after others."""
    every = list(parts)
    return EntrySquares(
        _sum([part.sums for part in every]),
        None if every[0].variances is None else _sum([part.variances for part in every if part.variances is not None]),
        torch.cat([part.squares for part in every], dim=1),
    )


def _single_outer(inputs: Tensor, gradients: Tensor, signs: Tensor | None) -> EntrySquares:
    """Of G = g a' for inputs `(n, q)` and gradients `(K, n, p)`."""
    lengths = torch.linalg.vector_norm(inputs, dim=-1, dtype=torch.float64).square()
    squares = lengths * torch.linalg.vector_norm(gradients, dim=-1, dtype=torch.float64).square()
    if signs is None:
        a, g = inputs.double().square(), gradients.double().square()
        return EntrySquares(g.mean(dim=0).T @ a, (g.var(dim=0) / len(g)).T @ a.square(), squares)
    a, of_inputs = _squares_and_scale(inputs)
    g, of_gradients = _squares_and_scale(gradients)
    sums = (signs.to(g)[:, :, None] * g).sum(dim=0).T @ a
    return EntrySquares(sums.double() * (of_inputs * of_gradients), None, squares)


def _embedding_squares(tokens: Tensor, gradients: Tensor, size: int, signs: Tensor | None) -> EntrySquares:
    """The squares of looked-up rows of some samples."""
    same = (tokens[:, :, None] == tokens[:, None]).to(gradients.dtype)
    squares = (same @ gradients).double().square() / same.sum(dim=2, dtype=torch.float64)[:, :, None]
    places = tokens.flatten()

    def by_row(values: Tensor) -> Tensor:
        """Values at the places `(n, T, d)`, added up by row of the table."""
        zeros = values.new_zeros((size, values.shape[2]))
        return zeros.index_add_(0, places, values.flatten(0, 1))

    norms = squares.sum(dim=(2, 3))
    if signs is not None:
        return EntrySquares(by_row((signs[:, :, None, None] * squares).sum(dim=0)), None, norms)
    # the places of one token hold the same square over its number c: c places add var / c^2, and c of them are wanted
    counts = same.sum(dim=2, dtype=torch.float64)[:, :, None]
    variances = squares.var(dim=0) * counts / len(squares)
    return EntrySquares(by_row(squares.mean(dim=0)), by_row(variances), norms)


def _squares_and_scale(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The squares of a tensor's entries over the largest one's, which do not underflow, and that one, float64."""
    largest = tensor.abs().amax() if tensor.numel() else tensor.new_ones(())
    scale = torch.where(largest == 0, torch.ones_like(largest), largest)
    return (tensor / scale).square_(), scale.double().square()


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).sum(dim=0)
