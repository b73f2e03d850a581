"""Inner products and norms of parameter vectors: summed in float64, by chunks, so that no copy of a vector is made.

Vectors of which this rank holds a part (`landscape.compute.shards`) are summed over all ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.compute.shards import by_span, of_length, sum_by_piece

CHUNK = 1 << 20  # coordinates of a vector that are converted to float64 together


def dot(left: Tensor, right: Tensor) -> float:
    """The inner product of two vectors `(P,)`."""
    if left.numel() <= CHUNK and of_length(len(left)) is None:
        return float(torch.sum(left.double() * right))
    return float(row_dots(left[None], right[None])[0])


def norm(vector: Tensor) -> float:
    """The Euclidean norm of a vector `(P,)`, or of all entries of a tensor; squares of float32 numbers may underflow.

    NaN and infinity come back as they are.
    """
    if vector.ndim and of_length(vector.shape[-1]) is not None:
        return float(torch.linalg.vector_norm(row_norms(vector)))
    if vector.numel() <= CHUNK:
        return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
    flat = vector.reshape(-1)
    sizes = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in torch.split(flat, CHUNK)]
    return float(torch.linalg.vector_norm(torch.stack(sizes)))


def distance(left: Tensor, right: Tensor) -> float:
    """The Euclidean norm of the difference of two vectors `(P,)`, or of two tensors of one shape."""
    one, other = left.reshape(-1), right.reshape(-1)
    return math.sqrt(float(sum_by_piece(_square_distance, one, other)))


def row_dots(left: Tensor, right: Tensor) -> Tensor:
    """The inner product of each row of `(K, P)` with the same row of another, `(K,)`, float64."""
    return sum_by_piece(_row_dots, left, right)


def row_norms(rows: Tensor, order: float = 2.0) -> Tensor:
    """The norm of each row of `(..., P)`, `(...)`, float64; the Euclidean one, or that of another `order`."""
    if of_length(rows.shape[-1]) is None:
        return _row_norms(rows, order)
    powers: Tensor = sum_by_piece(lambda part: _row_norms(part, order) ** order, rows)
    return powers ** (1 / order)


def _row_norms(rows: Tensor, order: float) -> Tensor:
    if rows.shape[-1] <= CHUNK:
        whole: Tensor = torch.linalg.vector_norm(rows, ord=order, dim=-1, dtype=torch.float64)
        return whole
    pieces = [
        torch.linalg.vector_norm(piece, ord=order, dim=-1, dtype=torch.float64)
        for piece in torch.split(rows, CHUNK, dim=-1)
    ]
    sizes: Tensor = torch.linalg.vector_norm(torch.stack(pieces), ord=order, dim=0)
    return sizes


def gram(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of all rows of `(n, P)` with all rows of `(m, P)`, `(n, m)`, float64."""
    return sum_by_piece(_gram, left, right)


def overlaps(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of rows `(n, P)` with rows `(m, P)`, `(n, m)`, or with one vector, in their precision."""
    found = by_span(lambda a, b: a @ (b if b.ndim == 1 else b.T), left, right)
    assert found is not None  # of the work, which returns products
    return found.to(left.dtype)


def _square_distance(left: Tensor, right: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64, device=left.device)
    for a, b in chunk_pairs(left, right):
        total += (a.double() - b).square().sum()
    return total


def _row_dots(left: Tensor, right: Tensor) -> Tensor:
    total = torch.zeros(len(left), dtype=torch.float64, device=left.device)
    for a, b in chunk_pairs(left, right):
        total += (a.double() * b).sum(dim=1)
    return total


def _gram(left: Tensor, right: Tensor) -> Tensor:
    total = torch.zeros((len(left), len(right)), dtype=torch.float64, device=left.device)
    for a, b in chunk_pairs(left, right):
        total += a.double() @ b.double().T
    return total


def chunk_pairs(left: Tensor, right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Two tensors `(..., P)` in views of at most `CHUNK` coordinates along the last axis."""
    yield from zip(torch.split(left, CHUNK, dim=-1), torch.split(right, CHUNK, dim=-1), strict=True)
