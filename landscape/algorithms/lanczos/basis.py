"""Operations on the orthonormal rows of a Lanczos basis, and on the small dense matrices beside it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.compute.inner_products import norm, overlaps
from landscape.compute.shards import by_span, length_here, of_size, whole_length
from landscape.errors import NumericalError

ROUNDING_EPSILONS = 10  # a residual of so many machine epsilons, times the operator's scale, is rounding error
ORTHOGONALIZATION_SWEEPS = 2  # "twice is enough" (Parlett 1980, section 6.9)
ROTATION_CHUNK = 1 << 20  # coordinates rotated together: bounds the temporary memory of a restart
TRANSFER_NUMBERS = 1 << 26  # numbers of rows in host memory that are copied to the device together


def allocate(shape: tuple[int, ...], like: Tensor, *, spill: bool = False) -> Tensor:
    """An empty tensor in the dtype of `like` on its device; with `spill` in host memory, pinned where there is CUDA."""
    if not spill:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.empty(shape, dtype=like.dtype, pin_memory=torch.cuda.is_available())


def orthogonalize(vectors: Tensor, rows: Tensor) -> np.ndarray:
    """Subtracts from b vectors `(b, P)`, in place, their components along n rows; returns these `(n, b)`, float64.

    Rows in other memory are copied to the vectors' device in chunks.
    """
    total = torch.zeros((len(rows), len(vectors)), dtype=vectors.dtype, device=vectors.device)
    for _ in range(ORTHOGONALIZATION_SWEEPS):
        for first, chunk in _chunks_beside(rows, vectors):
            components = overlaps(chunk, vectors[0])[:, None] if len(vectors) == 1 else overlaps(chunk, vectors)
            by_span(partial(_subtract, components), vectors, chunk, writes=True)
            total[first : first + len(chunk)] += components
    return total.double().cpu().numpy()


def _subtract(components: Tensor, vectors: Tensor, rows: Tensor) -> None:
    """Subtracts from b vectors, in place, their components `(n, b)` along n rows."""
    if len(vectors) == 1:
        vectors[0].addmv_(rows.T, components[:, 0], alpha=-1)
    else:
        vectors.addmm_(components.T, rows, alpha=-1)


def _chunks_beside(rows: Tensor, vectors: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The rows on the vectors' device with the index of the first: all of them, or chunks of pinned memory."""
    if not _on_other_device(rows, vectors):
        yield 0, rows
        return
    count = max(1, TRANSFER_NUMBERS // rows.shape[1])
    for first in range(0, len(rows), count):
        yield first, rows[first : first + count].to(vectors.device, non_blocking=True)


def _on_other_device(rows: Tensor, vectors: Tensor) -> bool:
    return rows.device != vectors.device


def random_unit_vector(rows: Tensor, seed: int, label: int, index: int = 0) -> Tensor:
    """A random unit vector `(P,)` orthogonal to the rows; a function of seed, label and index within a block."""
    path = ("lanczos", label, index) if index else ("lanczos", label)
    vector = seeds.normal_vector(whole_length(rows.shape[1]), rows, seed, *path)
    for _ in range(ORTHOGONALIZATION_SWEEPS):
        vector /= norm(vector)
        orthogonalize(vector[None], rows)
    return vector.div_(norm(vector))


def rotate(rows: Tensor, coefficients: np.ndarray, out: Tensor) -> None:
    """Writes coefficients @ rows into `out`, chunk by chunk; `out` may be the first of the rows themselves."""
    weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(rows)
    by_span(partial(_rotate, weights), out, rows, writes=True)


def _rotate(weights: Tensor, out: Tensor, rows: Tensor) -> None:
    for first in range(0, rows.shape[1], ROTATION_CHUNK):
        columns = slice(first, first + ROTATION_CHUNK)
        out[:, columns] = weights @ rows[:, columns]


def unit_vector(size: int, like: Tensor, index: int) -> Tensor:
    """The unit vector `(P,)` along one of so many coordinates, or what this rank holds of it."""
    shards, one = of_size(size), torch.ones(1, dtype=like.dtype, device=like.device)
    vector = torch.zeros(length_here(size), dtype=like.dtype, device=like.device)
    if shards is None:
        vector[index] = 1
    else:
        shards.put_range(vector, index, one)
    return vector


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors as columns.

    Computed by torch: NumPy's own BLAS threads keep spinning, which makes torch's products up to ten times slower.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def rounding_floor(dtype: torch.dtype, scale: Any) -> Any:
    """The norm below which a vector or a residual is rounding error, where ||A|| is about `scale`.

    `scale` is a number or an array; so is the result.
    """
    return ROUNDING_EPSILONS * torch.finfo(dtype).eps * scale


def require_finite(norms: Any) -> Any:
    """The norms of products, unchanged; raises NumericalError if one of them is NaN or infinite."""
    if not np.isfinite(norms).all():
        raise NumericalError(
            "a product with the operator is not finite, though loss and gradient are",
            why="a second derivative that is infinite or undefined at these weights, or an overflow",
            fix="--dtype float64, --hvp difference, or leave the parameters concerned out with --params",
        )
    return norms
