"""A preconditioner from products with random vectors, which all systems of a matrix share (randomized Nystrom)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import eigh
from landscape.algorithms.linear_systems.steps import multiply
from landscape.algorithms.snapshots import buffer
from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator

# Machine epsilons by which rows of the basis may miss unit length: a direction that is shrunk by more than the inverse
# of that could come out negative, and the preconditioner would be indefinite
ORTHOGONAL_EPSILONS = 100
SKETCH_VECTORS = 8  # of P numbers for each vector of a sketch at its peak: two in float64, the others in the dtype


@dataclass(frozen=True)
class NystromSketch:
    """Products A Omega with the first `done` of the columns of Omega, as rows; the others are not part of the state."""

    images: Tensor = field(metadata=buffer("done"))  # (rank, P)
    done: int


class NystromPreconditioner(LinearOperator):
    """(l + damping) U (values + damping)^-1 U' + I - U U', with l the smallest of the values (Frangella et al. 2023).

    It makes the eigenvalues that the sketch found equal, so that conjugate gradients see the others alone. `basis` has
    orthonormal rows `(r, P)`.
    """

    def __init__(self, basis: Tensor, values: Tensor, damping: float) -> None:
        self.size, self.like, self.basis = basis.shape[1], basis[0], basis
        least = ORTHOGONAL_EPSILONS * torch.finfo(basis.dtype).eps
        self._shrink = ((values[-1] + damping) / (values + damping)).clamp_min(least).sub_(1).to(basis)[:, None]

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block `(P, K)`."""
        return block + self.basis.T @ (self._shrink * (self.basis @ block))


def initial_sketch(operator: LinearOperator, rank: int) -> NystromSketch:
    """The sketch before the first product, with room for so many."""
    images = torch.empty((rank, operator.size), dtype=operator.like.dtype, device=operator.like.device)
    return NystromSketch(images, 0)


def sketch_matrix(
    operator: LinearOperator, rank: int, width: int, seed: int, state: NystromSketch
) -> Iterator[NystromSketch]:
    """Yields the sketch after each block of products with random orthonormal vectors."""
    omega = _test_vectors(operator, rank, seed) if state.done < rank else state.images
    while state.done < rank:
        part = slice(state.done, min(state.done + width, rank))
        state.images[part] = multiply(operator, omega[part].T, width).T
        state = NystromSketch(state.images, part.stop)
        yield state


def precondition_by(operator: LinearOperator, sketch: NystromSketch, damping: float, seed: int) -> LinearOperator:
    """The preconditioner of a finished sketch; raises NumericalError if the matrix is not semidefinite."""
    rank = sketch.done
    omega, images = _test_vectors(operator, rank, seed), sketch.images[:rank]
    shift = float(torch.finfo(images.dtype).eps * torch.linalg.matrix_norm(images) * rank**0.5)  # keeps Cholesky clear
    images = images + shift * omega  # of rounding, as Frangella et al. (2023), algorithm 2.1
    core = (omega @ images.T).double().cpu()
    factor, failed = torch.linalg.cholesky_ex((core + core.T) / 2)
    if int(failed):
        raise NumericalError(
            "the matrix is not positive semidefinite, which the Nystrom preconditioner needs",
            fix="--operator ggn, or --precondition none",
        )
    rows = torch.linalg.solve_triangular(factor, images.double().cpu(), upper=False)
    values, rotation = eigh((rows @ rows.T).numpy())
    kept = values > values.max() * np.finfo(np.float32).eps
    scale = rotation[:, kept] / np.sqrt(values[kept])
    basis = (torch.from_numpy(scale.T).to(rows) @ rows).flip(0).to(operator.like)
    found = torch.from_numpy(values[kept] - shift).clamp_min(0).flip(0)
    return NystromPreconditioner(basis.contiguous(), found, damping)


def _test_vectors(operator: LinearOperator, rank: int, seed: int) -> Tensor:
    """Orthonormal rows `(rank, P)` in random directions, a function of the seed."""
    rows = [seeds.normal(operator.size, operator.like, seed, "nystrom", place) for place in range(rank)]
    basis: Tensor = torch.linalg.qr(torch.stack(rows, dim=1))[0]
    return basis.T.contiguous()
