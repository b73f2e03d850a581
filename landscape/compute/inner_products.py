"""Inner products and norms of parameter vectors: summed in float64, by chunks, so that no copy of a vector is made."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 1 << 20  # coordinates of a vector that are converted to float64 together


def dot(left: Tensor, right: Tensor) -> float:
    """The inner product of two vectors `(P,)`."""
    if left.numel() <= CHUNK:
        return float(torch.sum(left.double() * right))
    return float(row_dots(left[None], right[None])[0])


def norm(vector: Tensor) -> float:
    """The Euclidean norm of a vector `(P,)`, or of all entries of a tensor; squares of float32 numbers may underflow.

    NaN and infinity come back as they are.
    """
    if vector.numel() <= CHUNK:
        return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
    flat = vector.reshape(-1)
    sizes = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in torch.split(flat, CHUNK)]
    return float(torch.linalg.vector_norm(torch.stack(sizes)))


def distance(left: Tensor, right: Tensor) -> float:
    """The Euclidean norm of the difference of two vectors `(P,)`, or of two tensors of one shape."""
    pairs = chunk_pairs(left.reshape(-1), right.reshape(-1))
    return math.sqrt(sum(float((a.double() - b).square().sum()) for a, b in pairs))


def row_dots(left: Tensor, right: Tensor) -> Tensor:
    """The inner product of each row of `(K, P)` with the same row of another, `(K,)`, float64."""
    total = torch.zeros(len(left), dtype=torch.float64, device=left.device)
    for a, b in chunk_pairs(left, right):
        total += (a.double() * b).sum(dim=1)
    return total


def row_norms(rows: Tensor, order: float = 2.0) -> Tensor:
    """The norm of each row of `(..., P)`, `(...)`, float64; the Euclidean one, or that of another `order`."""
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
    total = torch.zeros((len(left), len(right)), dtype=torch.float64, device=left.device)
    for a, b in chunk_pairs(left, right):
        total += a.double() @ b.double().T
    return total


def chunk_pairs(left: Tensor, right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Two tensors `(..., P)` in views of at most `CHUNK` coordinates along the last axis."""
    yield from zip(torch.split(left, CHUNK, dim=-1), torch.split(right, CHUNK, dim=-1), strict=True)
