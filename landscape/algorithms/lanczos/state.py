"""A Lanczos run as a value: the pairs wanted, and the state after some products.

Notation: the basis holds orthonormal rows L (locked), Q (active) and N (next, as many as a block has), with

    A Q = Q T + N C' + L B,     T = Q' A Q,   C' = N' A Q,   B = L' A Q
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rounding_floor
from landscape.algorithms.lanczos.selection import Which
from landscape.algorithms.snapshots import buffer
from landscape.compute.shards import whole_length

ROUNDING_SPREAD = 3  # rounding is measured on one vector; on others of digits-resnet it was up to 2.5 times as large


@dataclass(frozen=True)
class WantedPairs:
    """The eigenpairs to search for: how many, of which end, how exact, and how long to look for skipped ones."""

    count: int
    which: Which = "largest"
    tol: float = 1e-3
    confirm: int = 8  # steps of a second start that looks for skipped eigenvalues
    gap: float | None = None  # if given, searches are long enough to certify this gap
    probability: float = 0.01  # of failure of that certificate


@dataclass(frozen=True)
class Candidates:
    """Approximate eigenpairs: n values and residual norms `(n,)`, vectors as coefficients `(n, l + a)` in L and Q.

    `own` marks those that come from the current cycle; the others are locked.
    """

    values: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    own: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Candidates:
        return Candidates(self.values[chosen], self.residuals[chosen], self.coefficients[chosen], self.own[chosen])


@dataclass(frozen=True)
class LanczosState:
    """A run after some products: P parameters, k wanted, l locked, a active vectors, b next ones.

    The rows of `basis` beyond `used` are not part of the state: a step writes its new rows there and then counts them.
    The state before the step therefore stays valid until a restart or a lock rewrites the rows.
    """

    basis: Tensor = field(metadata=buffer("used"))  # (capacity, P)
    locked_values: np.ndarray  # (l,)
    locked_residuals: np.ndarray  # (l,)
    projected: np.ndarray  # T, (a, a)
    coupling: np.ndarray  # C, (a, b); b is 0 once the whole space is spanned
    leakage: np.ndarray  # B, (l, a)
    rounding: float  # measured by a product at each lock, by u'Av - v'Au at each step, and by differences' steps
    scale: float  # the largest ||A q|| seen: an estimate of ||A|| from below
    products: int
    block: int  # products per step
    cycle: int  # 0 until the first lock
    cycle_products: int
    search_products: int  # of all cycles after the first
    value_history: np.ndarray  # (steps, k), NaN where fewer than k values were known, or none were computed
    residual_history: np.ndarray  # (steps, k)

    @property
    def locked(self) -> int:
        """l, the locked vectors."""
        return len(self.locked_values)

    @property
    def active(self) -> int:
        """a, the active vectors."""
        return len(self.coupling)

    @property
    def used(self) -> int:
        """Rows of the basis that hold vectors, the next ones included."""
        return self.locked + self.active + int(self.coupling.shape[1])

    @property
    def cycle_steps(self) -> int:
        """Steps of the current cycle: the depth of the Krylov spaces of its starts."""
        return self.cycle_products // self.block

    @property
    def search_passes(self) -> int:
        """Passes over the data of all cycles after the first, including one product for each lock."""
        return self.cycle + (self.search_products - self.cycle) // self.block

    @property
    def floor(self) -> float:
        """The norm below which a vector or a residual is rounding error."""
        least: float = rounding_floor(self.basis.dtype, self.scale)
        return least

    @property
    def noise(self) -> float:
        """The rounding error of a residual: the floor, or more if more was measured."""
        return max(self.floor, ROUNDING_SPREAD * self.rounding)

    @property
    def size(self) -> int:
        """P, also where the rows of the basis are parts of vectors."""
        return whole_length(self.basis.shape[1])

    @property
    def exhausted(self) -> bool:
        """Whether locked and active vectors span the whole space."""
        return self.locked + self.active == self.size

    @cached_property
    def candidates(self) -> Candidates:
        """All approximate eigenpairs: the locked ones unchanged, and the Ritz pairs of T.

        The residuals of the Ritz pairs are those of the operator on the complement of L; their parts in L are added
        when a pair is locked. If L and Q span the whole space, Rayleigh-Ritz over both is exact.
        """
        if self.exhausted:
            matrix = np.block([[np.diag(self.locked_values), self.leakage], [self.leakage.T, self.projected]])
            values, rotation = eigh(matrix)
            own = (rotation[self.locked :] ** 2).sum(axis=0) > 1 / 2
            return Candidates(values, np.zeros(len(values)), rotation.T, own)
        values, rotation = eigh(self.projected)
        coefficients = np.zeros((self.locked + self.active,) * 2)
        coefficients[: self.locked, : self.locked] = np.eye(self.locked)
        coefficients[self.locked :, self.locked :] = rotation.T
        return Candidates(
            values=np.concatenate([self.locked_values, values]),
            residuals=np.concatenate([self.locked_residuals, np.linalg.norm(rotation.T @ self.coupling, axis=1)]),
            coefficients=coefficients,
            own=np.arange(self.locked + self.active) >= self.locked,
        )
