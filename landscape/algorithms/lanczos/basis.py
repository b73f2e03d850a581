"""Operations on orthonormal rows, and on the small dense matrices that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.errors import NumericalError

NOISE = 10  # in machine epsilons of the operator's scale: below it a vector or a residual is rounding error
SWEEPS = 2  # "twice is enough" (Parlett 1980, section 6.9)
CHUNK = 1 << 20  # coordinates rotated at once: bounds the temporary memory of a restart
CHUNK_NUMBERS = 1 << 26  # of rows brought over at once: bounds the memory of a basis that lies elsewhere


def allocate(shape: tuple[int, ...], like: Tensor, *, spill: bool = False) -> Tensor:
    """An empty tensor in the dtype of `like` on its device; with `spill` in host memory, pinned where there is CUDA."""
    if not spill:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.empty(shape, dtype=like.dtype, pin_memory=torch.cuda.is_available())


def orthogonalize(vectors: Tensor, rows: Tensor) -> np.ndarray:
    """Takes the components along n rows out of b vectors `(b, P)`, in place, and returns them: `(n, b)`, float64.

    The rows may lie in other memory; they are then brought over in chunks.
    """
    total = torch.zeros((len(rows), len(vectors)), dtype=vectors.dtype, device=vectors.device)
    for _ in range(SWEEPS):
        for place, some in _near(rows, vectors):
            if len(vectors) == 1:
                overlaps = (some @ vectors[0])[:, None]
                vectors[0].addmv_(some.T, overlaps[:, 0], alpha=-1)
            else:
                overlaps = some @ vectors.T
                vectors.addmm_(overlaps.T, some, alpha=-1)
            total[place : place + len(some)] += overlaps
    return total.double().cpu().numpy()


def _near(rows: Tensor, vectors: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The rows where the vectors are, with the place of the first: all at once, or in chunks of pinned memory."""
    if not _apart(rows, vectors):
        yield 0, rows
        return
    count = max(1, CHUNK_NUMBERS // rows.shape[1])
    for place in range(0, len(rows), count):
        yield place, rows[place : place + count].to(vectors.device, non_blocking=True)


def _apart(rows: Tensor, vectors: Tensor) -> bool:
    return rows.device != vectors.device


def random_unit_vector(rows: Tensor, seed: int, label: int, place: int = 0) -> Tensor:
    """A random unit vector orthogonal to the rows; a function of the seed, the label and the place within a block."""
    own = ("lanczos", label, place) if place else ("lanczos", label)
    vector = seeds.normal(rows.shape[1], rows, seed, *own)
    for _ in range(SWEEPS):
        vector /= norm(vector)
        orthogonalize(vector[None], rows)
    return vector.div_(norm(vector))


def rotate(rows: Tensor, coefficients: np.ndarray, out: Tensor) -> None:
    """out = coefficients @ rows, chunk by chunk; `out` may be the first of the rows themselves."""
    weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(rows)
    for first in range(0, rows.shape[1], CHUNK):
        columns = slice(first, first + CHUNK)
        out[:, columns] = weights @ rows[:, columns]


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors as columns.

    By torch and not by NumPy, whose own BLAS threads keep spinning and slow torch's products down up to tenfold.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def rounding_floor(dtype: torch.dtype, scale: Any) -> Any:
    """What the arithmetic leaves of a vector or a residual at best, where ||A|| is about `scale`, a number or an array.

    Below it no product can tell them from zero.
    """
    return NOISE * torch.finfo(dtype).eps * scale


def require_finite(sizes: Any) -> Any:
    """The norms of products, as they are; raises NumericalError if one of them is not a number."""
    if not np.isfinite(sizes).all():
        raise NumericalError(
            "a product with the operator is not finite, though loss and gradient are",
            why="a second derivative that is infinite or undefined at these weights, or an overflow",
            fix="--dtype float64, or leave the parameters concerned out with --params",
        )
    return sizes


def norm(vector: Tensor) -> float:
    """The Euclidean norm, summed in float64: the squares of float32 underflow below 1e-19."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
