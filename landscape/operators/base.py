"""The interface of operators: a size, a prototype tensor, and the product with a block of columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from landscape.compute.strategy import Strategy
from landscape.errors import UsageError
from landscape.network.space import ParameterGroup

DENSE_COLUMNS = 64  # columns per product in to_dense: enough to share passes, few enough for memory
WIDE_BYTES = 256 << 20  # most bytes of the columns of several groups that are multiplied together


class LinearOperator(ABC):
    """A symmetric matrix `(P, P)` on the parameter space.

    `size` is P; `like` is a tensor on the operator's device and in its dtype.
    """

    size: int
    like: Tensor

    @abstractmethod
    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block of columns, `(P, K) -> (P, K)`, in one pass over the data."""

    def __matmul__(self, other: Tensor) -> Tensor:
        """The product with a vector `(P,)` or a block `(P, K)`; raises ValueError for any other shape."""
        if other.ndim not in (1, 2) or other.shape[0] != self.size:
            raise ValueError(f"operator of shape ({self.size}, {self.size}) @ tensor of shape {tuple(other.shape)}")
        return self.matmat(other) if other.ndim == 2 else self.matmat(other[:, None])[:, 0]

    def to_dense(self) -> Tensor:
        """The matrix itself, `(P, P)`: for tests and tiny models."""
        identity = torch.eye(self.size, dtype=self.like.dtype, device=self.like.device)
        return torch.cat([self.matmat(columns) for columns in torch.split(identity, DENSE_COLUMNS, dim=1)], dim=1)

    def block_diagonal(self, groups: Sequence[ParameterGroup]) -> LinearOperator:
        """The diagonal blocks of the matrix on these groups of parameters; all other entries are zero."""
        return BlockDiagonalOperator(self, groups)

    @property
    def product_error(self) -> float:
        """The largest error of a product with a unit vector beyond rounding; 0 unless products are differences."""
        return 0.0

    def quadratic_errors(self, block: Tensor) -> Tensor | None:
        """What v'Av is uncertain by, for each column v; None for exact products.

        The rows of `(3, K)` are its change with another step, the part of a kink that no step changes, and rounding.
        """
        del block
        return None

    def measure_errors_in(self, scale: Tensor) -> None:
        """From now on `product_error` is that of C A C, with C the diagonal `scale (P,)`."""
        del scale

    @property
    def additive(self) -> bool:
        """Whether the matrix is a sum over samples, so that `quadratics` and `on_samples` work."""
        return False

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """v'S v for each column v and each group's own sum S over samples, and each group's number of loss terms.

        Shapes `(G, K)` and `(G,)`, float64. The groups of samples end before the ascending `cuts`, which are positions
        in the data set; the last group is the rest. Raises UsageError if the matrix is not `additive`.
        """
        del block, cuts
        raise UsageError(f"{type(self).__name__} is not a sum over samples", fix="--operator hessian")

    def block_quadratics(
        self, groups: Sequence[ParameterGroup], block: Tensor, cuts: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """As `quadratics`, for the part v_l of each column v on each of L groups of parameters: `(G, L, K)` and `(G,)`.

        An entry is v_l'S v_l, which takes the diagonal block of the group alone. Raises ValueError without groups.
        """
        columns, parts, counts = block.shape[1], [], None
        for chunk in _chunks(groups, block):
            sums, counts = self.quadratics(_by_group(chunk, block), cuts)
            parts.append(sums.unflatten(1, (len(chunk), columns)))  # type: ignore[no-untyped-call]
        if counts is None:
            raise ValueError("quadratic forms of no groups of parameters")
        return torch.cat(parts, dim=1), counts

    def on_samples(self, first: int, end: int) -> LinearOperator:
        """The matrix on the samples from position `first` up to `end` alone; raises UsageError if not `additive`."""
        del first, end
        raise UsageError(f"{type(self).__name__} is not a sum over samples", fix="--operator hessian")

    def strategy(self, columns: int) -> Strategy | None:
        """The strategy of the last products with so many columns; None without any, or if there is one way only."""
        del columns
        return None

    def strategy_bytes(self, columns: int, strategy: Strategy) -> int:
        """The peak memory of a product with so many columns; raises UsageError for operators without strategies."""
        del columns, strategy
        raise UsageError(f"{type(self).__name__} has no strategies to choose from", fix="--operator hessian")


class BlockDiagonalOperator(LinearOperator):
    """diag(A_11, A_22, ...) of any operator A; rows and columns outside the groups are zero.

    A product with one column multiplies A by a column for every group.
    """

    def __init__(self, inner: LinearOperator, groups: Sequence[ParameterGroup]) -> None:
        self.inner = inner
        self.groups = groups
        self.like = inner.like
        self.size = inner.size

    @property
    def product_error(self) -> float:
        """The error of A's products, of which a block is a part."""
        return self.inner.product_error

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P, K)`, by products of A with as many groups' columns as `WIDE_BYTES` allows."""
        product = torch.zeros_like(block)
        for chunk in _chunks(self.groups, block):
            image = self.inner.matmat(_by_group(chunk, block)).T.reshape(len(chunk), block.shape[1], self.size)
            for rows, group in zip(image, chunk, strict=True):
                _copy(group, rows, product.T)
        return product


def _chunks(groups: Sequence[ParameterGroup], block: Tensor) -> Iterator[Sequence[ParameterGroup]]:
    """As many groups together as `WIDE_BYTES` allows, each with its part of the columns of a block `(P, K)`."""
    together = max(1, WIDE_BYTES // max(block.nbytes, 1))
    for first in range(0, len(groups), together):
        yield groups[first : first + together]


def _by_group(groups: Sequence[ParameterGroup], block: Tensor) -> Tensor:
    """The parts of columns `(P, K)` on each of L groups, zero elsewhere: `(P, L K)`, all columns of a group first."""
    wide = torch.zeros((len(groups), block.shape[1], len(block)), dtype=block.dtype, device=block.device)
    for rows, group in zip(wide, groups, strict=True):
        _copy(group, block.T, rows)
    return wide.view(-1, len(block)).T


def _copy(group: ParameterGroup, source: Tensor, target: Tensor) -> None:
    """Copies the group's coordinates along the last axis."""
    for there, here in zip(group.of(target), group.of(source), strict=True):
        there.copy_(here)
