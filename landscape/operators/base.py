"""What every operator is: a size, a prototype tensor, and a product with a block of columns."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

DENSE_COLUMNS = 64  # columns at once in to_dense: enough to share passes, few enough for memory


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
