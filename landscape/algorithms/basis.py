"""Operations on orthonormal rows, and on the small dense matrices that belong to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.errors import NumericalError

NOISE = 10  # in machine epsilons of the operator's scale: below it a vector or a residual is rounding error
SWEEPS = 2  # "twice is enough" (Parlett 1980, section 6.9)
CHUNK = 1 << 20  # coordinates rotated at once: bounds the temporary memory of a restart


def orthogonalise(vector: Tensor, rows: Tensor) -> np.ndarray:
    """Takes the rows' components out of the vector, in place, and returns them as float64."""
    total = torch.zeros(len(rows), dtype=vector.dtype, device=vector.device)
    for _ in range(SWEEPS):
        overlaps = rows @ vector
        vector.addmv_(rows.T, overlaps, alpha=-1)
        total += overlaps
    return total.double().cpu().numpy()


def fresh(rows: Tensor, seed: int, label: int) -> Tensor:
    """A random unit vector orthogonal to the rows; a function of the seed and the label."""
    vector = seeds.normal(rows.shape[1], rows, seed, "lanczos", label)
    for _ in range(SWEEPS):
        vector /= norm(vector)
        orthogonalise(vector, rows)
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


def floor(dtype: torch.dtype, scale: Any) -> Any:
    """What the arithmetic leaves of a vector or a residual at best, where ||A|| is about `scale`, a number or an array.

    Below it no product can tell them from zero.
    """
    return NOISE * torch.finfo(dtype).eps * scale


def finite(sizes: Any) -> Any:
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
