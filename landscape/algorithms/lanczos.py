"""Symmetric Lanczos with full reorthogonalisation, thick restart, and a second, deflated start.

One cycle is a thick-restart Lanczos run (Wu and Simon 2000) on the operator restricted to the complement of the locked
vectors. When all wanted Ritz pairs have converged they are locked, and a fresh cycle starts from another random vector
orthogonal to them: one start vector finds one copy of a repeated eigenvalue, and none at all of an eigenvector that it
happens to be orthogonal to. The run ends with a cycle that finds nothing better.

Notation inside: the basis holds orthonormal rows L (locked), Q (active) and q (next), with

    A Q = Q T + q c' + L B,     T = Q' A Q,   c' = q' A Q,   B = L' A Q

Ritz pairs are those of the combined matrix [Theta B; B' T] over L and Q.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.selection import Which, discounted, select
from landscape.operators.base import LinearOperator

SWEEPS = 2  # "twice is enough" (Parlett 1980, section 6.9)
NOISE = 10  # in machine epsilons of the operator's scale: below it a vector or a residual is rounding error
CHUNK = 1 << 20  # coordinates rotated at once: bounds the temporary memory of a restart
SPARE = 4  # basis vectors beyond the wanted ones: a found one, one being refined, one more, and the next


@dataclass(frozen=True)
class LanczosState:
    """A run after some products: P parameters, k wanted, l locked, a active vectors.

    The rows of `basis` beyond `used` are not part of the state: a step writes its new row there and then counts it,
    so the state before the step stays true until a restart or a lock rewrites the rows.
    """

    basis: Tensor  # (capacity, P)
    locked_values: np.ndarray  # (l,)
    locked_residuals: np.ndarray  # (l,)
    projected: np.ndarray  # T, (a, a)
    coupling: np.ndarray  # c, (a,)
    leakage: np.ndarray  # B, (l, a)
    rounding: float  # ||A y - theta y|| beyond its Lanczos residual, measured by a product at each lock
    scale: float  # the largest ||A q|| seen: an estimate of ||A|| from below
    products: int
    cycle: int  # 0 until the first lock
    cycle_products: int
    search_products: int  # those of all cycles after the first
    value_history: np.ndarray  # (products, k), NaN where fewer than k values were known
    residual_history: np.ndarray  # (products, k)

    @property
    def locked(self) -> int:
        return len(self.locked_values)

    @property
    def active(self) -> int:
        return len(self.coupling)

    @property
    def used(self) -> int:
        """Rows of the basis that hold vectors, the next one included."""
        return min(self.locked + self.active + 1, self.basis.shape[1])

    @property
    def noise(self) -> float:
        """What rounding alone leaves of a vector or a residual: by rule of thumb, or as measured at the last lock."""
        return max(NOISE * torch.finfo(self.basis.dtype).eps * self.scale, self.rounding)

    @property
    def exhausted(self) -> bool:
        """Whether locked and active vectors span the whole space."""
        return self.locked + self.active == self.basis.shape[1]

    @cached_property
    def combined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rayleigh-Ritz over locked and active vectors: values `(l + a,)`, rotation `(l + a, l + a)`, residuals.

        The locked vectors' residuals outside the active space have no known direction: their norms are added.
        """
        matrix = np.block([[np.diag(self.locked_values), self.leakage], [self.leakage.T, self.projected]])
        values, rotation = _eigh(matrix)
        outside = np.sqrt(np.maximum(self.locked_residuals**2 - (self.leakage**2).sum(axis=1), 0))
        if self.exhausted:
            outside = np.zeros_like(outside)
        radius = np.hypot(self.coupling @ rotation[self.locked :], outside @ np.abs(rotation[: self.locked]))
        return values, rotation, radius

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays, for a snapshot."""
        plain = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name != "basis"}
        shape = np.asarray(self.basis.shape)
        return {**plain, "basis": self.basis[: self.used].cpu().numpy(), "basis_shape": shape}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], like: Tensor) -> LanczosState:
        """The state that `arrays()` described, on the device and in the dtype of `like`."""
        rest = dict(arrays)
        rows = torch.from_numpy(rest.pop("basis")).to(like)
        basis = torch.empty(tuple(rest.pop("basis_shape")), dtype=like.dtype, device=like.device)
        basis[: len(rows)] = rows
        plain: dict[str, Any] = {name: value.item() if value.ndim == 0 else value for name, value in rest.items()}
        return cls(basis=basis, **plain)


@dataclass(frozen=True)
class RitzPairs:
    """The wanted approximate eigenpairs, best first.

    `residuals` are ||A y - theta y|| by the Lanczos identity; `coefficients` `(k, l + a)` express the vectors y in the
    rows of the basis; `own` tells which pairs belong to the current cycle rather than to the locked ones.
    """

    values: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    own: np.ndarray

    def vectors(self, basis: Tensor) -> Tensor:
        """The Ritz vectors as rows, `(k, P)`."""
        out = torch.empty((len(self.values), basis.shape[1]), dtype=basis.dtype, device=basis.device)
        _rotate(basis[: self.coefficients.shape[1]], self.coefficients, out)
        return out


@dataclass(frozen=True)
class Wanted:
    """How many pairs of which end, how exact, and how many products the second start may take to find another."""

    count: int
    which: Which = "largest"
    tol: float = 1e-3
    confirm: int = 8


def lanczos(
    operator: LinearOperator,
    wanted: Wanted,
    *,
    seed: int = 0,
    max_basis: int,
    max_products: int,
    resume: LanczosState | None = None,
) -> Iterator[LanczosState]:
    """States after each product, until `finished(state, wanted)` or `max_products`.

    `max_basis` rows of P numbers are held (at least `wanted.count + SPARE` if P is larger).
    """
    state = resume or _begin(operator, wanted, seed, min(max_basis, operator.size))
    while not finished(state, wanted) and state.products < max_products:
        full = state.active > 0 and state.used == len(state.basis) < operator.size
        if all_converged(state, wanted) or (full and state.cycle and _newcomers(state, wanted)):
            state = _lock(operator, state, wanted, seed)
        else:
            state = _step(operator, _restart(state, wanted) if full else state, seed)
        state = _recorded(state, wanted)
        yield state


def ritz(state: LanczosState, wanted: Wanted, *, only_converged: bool = False) -> RitzPairs:
    """The wanted pairs among the locked ones and those of the current cycle (or those of them that have converged).

    After the first lock a newcomer must beat a locked value by more than the tolerance, lest two copies of one
    repeated eigenvalue replace each other for ever.
    """
    values, rotation, radius = state.combined
    own = (rotation[state.locked :] ** 2).sum(axis=0) > 1 / 2
    rivals = values
    if state.locked:
        centre = (state.locked_values.max() + state.locked_values.min()) / 2
        margin = np.maximum(wanted.tol * np.abs(values), state.noise)
        rivals = np.where(own, discounted(values, margin, wanted.which, centre), values)
    eligible = np.flatnonzero(_small(radius, values, state, wanted.tol)) if only_converged else np.arange(len(values))
    chosen = eligible[select(rivals[eligible], wanted.count, wanted.which)]
    return RitzPairs(values[chosen], radius[chosen], rotation[:, chosen].T, own[chosen])


def converged(pairs: RitzPairs, state: LanczosState, tol: float) -> np.ndarray:
    """Which pairs have a residual of at most tol |theta|, or of rounding error."""
    return _small(pairs.residuals, pairs.values, state, tol)


def all_converged(state: LanczosState, wanted: Wanted) -> bool:
    """Whether as many pairs as wanted are known and all have converged."""
    if state.locked + state.active < min(wanted.count, state.basis.shape[1]):
        return False
    if state.cycle and state.cycle_products < wanted.confirm and not state.exhausted:
        return False
    return bool(converged(ritz(state, wanted), state, wanted.tol).all())


def finished(state: LanczosState, wanted: Wanted) -> bool:
    """Whether all wanted pairs have converged and a second start, if asked for, found nothing better."""
    if state.exhausted:
        return True
    if not state.products or not all_converged(state, wanted):
        return False
    if not wanted.confirm:
        return True
    return state.cycle > 0 and not ritz(state, wanted).own.any()


def _begin(operator: LinearOperator, wanted: Wanted, seed: int, capacity: int) -> LanczosState:
    basis = torch.empty((capacity, operator.size), dtype=operator.like.dtype, device=operator.like.device)
    nothing = np.zeros(0)
    empty = np.zeros((0, wanted.count))
    state = LanczosState(
        basis, nothing, nothing, np.zeros((0, 0)), nothing, np.zeros((0, 0)), 0.0, 0.0, 0, 0, 0, 0, empty, empty
    )
    basis[0] = _fresh(basis[:0], seed, 0)
    return state


def _step(operator: LinearOperator, state: LanczosState, seed: int) -> LanczosState:
    """One product: the next vector becomes active, and a new next vector is committed behind it."""
    last = state.locked + state.active
    rows = state.basis[: last + 1]
    image = operator @ state.basis[last]
    scale = max(state.scale, float(torch.linalg.vector_norm(image)))
    overlaps = _orthogonalise(image, rows)
    locked, alpha = overlaps[: state.locked], overlaps[last]
    projected = np.block([[state.projected, state.coupling[:, None]], [state.coupling[None, :], alpha]])
    beta = float(torch.linalg.vector_norm(image))
    if last + 1 == state.basis.shape[1]:
        beta = 0.0  # the whole space is spanned
    elif beta <= NOISE * torch.finfo(image.dtype).eps * scale:
        beta = 0.0  # an invariant subspace: go on from a fresh direction, not coupled to it
        state.basis[last + 1] = _fresh(rows, seed, state.products + 1)
    else:
        state.basis[last + 1] = image / beta
    return replace(
        state,
        projected=projected,
        coupling=np.append(np.zeros(state.active), beta),
        leakage=np.column_stack([state.leakage, locked]),
        scale=scale,
        products=state.products + 1,
        cycle_products=state.cycle_products + 1,
        search_products=state.search_products + (state.cycle > 0),
    )


def _restart(state: LanczosState, wanted: Wanted) -> LanczosState:
    """Compresses the active vectors to the best Ritz vectors; the next vector stays (Wu and Simon 2000, eq. 3-7)."""
    values, rotation = _eigh(state.projected)
    best = min(max(int(ritz(state, wanted).own.sum()), 1), state.active - 1)
    keep = min(best + (state.active - best) // 2, state.active - 1)
    chosen = select(values, keep, wanted.which)
    kept = rotation[:, chosen]
    first, end = state.locked, state.locked + state.active
    _rotate(state.basis[first:end], kept.T, state.basis[first : first + keep])
    state.basis[first + keep] = state.basis[end]
    return replace(
        state,
        projected=np.diag(values[chosen]),
        coupling=state.coupling @ kept,
        leakage=state.leakage @ kept,
    )


def _lock(operator: LinearOperator, state: LanczosState, wanted: Wanted, seed: int) -> LanczosState:
    """Locks the wanted pairs and begins a cycle from a fresh vector orthogonal to them.

    One product with the best vector measures what its Lanczos residual does not know: the rounding of the products.
    """
    pairs = ritz(state, wanted, only_converged=True)
    count = len(pairs.values)
    _rotate(state.basis[: state.locked + state.active], pairs.coefficients, state.basis[:count])
    best = state.basis[0]
    measured = float(torch.linalg.vector_norm((operator @ best).sub_(best, alpha=float(pairs.values[0]))))
    state.basis[count] = _fresh(state.basis[:count], seed, state.products)
    return replace(
        state,
        locked_values=pairs.values,
        locked_residuals=pairs.residuals,
        projected=np.zeros((0, 0)),
        coupling=np.zeros(0),
        leakage=np.zeros((count, 0)),
        rounding=max(state.rounding, math.sqrt(max(measured**2 - float(pairs.residuals[0]) ** 2, 0.0))),
        products=state.products + 1,
        search_products=state.search_products + 1,
        cycle=state.cycle + 1,
        cycle_products=0,
    )


def _recorded(state: LanczosState, wanted: Wanted) -> LanczosState:
    pairs = ritz(state, wanted)
    values, residuals = np.full((2, 1, wanted.count), np.nan)
    values[0, : len(pairs.values)] = pairs.values
    residuals[0, : len(pairs.values)] = pairs.residuals
    recorded = replace(
        state,
        value_history=np.concatenate([state.value_history, values]),
        residual_history=np.concatenate([state.residual_history, residuals]),
    )
    vars(recorded)["combined"] = state.combined  # a cached property, and the histories have no part in it
    return recorded


def _newcomers(state: LanczosState, wanted: Wanted) -> bool:
    """Whether the current cycle has converged pairs that belong among the locked ones."""
    return bool(ritz(state, wanted, only_converged=True).own.any())


def _small(residuals: np.ndarray, values: np.ndarray, state: LanczosState, tol: float) -> np.ndarray:
    small: np.ndarray = residuals <= np.maximum(tol * np.abs(values), state.noise)
    return small


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors as columns.

    By torch and not by NumPy, whose own BLAS threads keep spinning and slow torch's products down up to tenfold.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def _orthogonalise(vector: Tensor, rows: Tensor) -> np.ndarray:
    """Takes the rows' components out of the vector, in place, and returns them as float64."""
    total = torch.zeros(len(rows), dtype=vector.dtype, device=vector.device)
    for _ in range(SWEEPS):
        overlaps = rows @ vector
        vector.addmv_(rows.T, overlaps, alpha=-1)
        total += overlaps
    return total.double().cpu().numpy()


def _fresh(rows: Tensor, seed: int, label: int) -> Tensor:
    """A random unit vector orthogonal to the rows; a function of the seed and the label."""
    vector = seeds.normal(rows.shape[1], rows, seed, "lanczos", label)
    for _ in range(SWEEPS):
        vector /= torch.linalg.vector_norm(vector)
        _orthogonalise(vector, rows)
    return vector.div_(torch.linalg.vector_norm(vector))


def _rotate(rows: Tensor, coefficients: np.ndarray, out: Tensor) -> None:
    """out = coefficients @ rows, chunk by chunk; `out` may be the first of the rows themselves."""
    weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(rows)
    for first in range(0, rows.shape[1], CHUNK):
        columns = slice(first, first + CHUNK)
        out[:, columns] = weights @ rows[:, columns]


def error_bounds(pairs: RitzPairs, state: LanczosState) -> np.ndarray:
    """How far each value is from an eigenvalue at most: min(r, r^2 / gap) plus rounding, with r the residual.

    r holds for every symmetric matrix; r^2 / gap (Kato-Temple; Parlett 1980, section 11.7) where gap is the distance
    to the rest of the spectrum, here to the other Ritz values less their residuals. Products are rounded as well:
    `noise` is added.
    """
    every, _, radius = state.combined
    distance = np.abs(pairs.values[:, None] - every[None, :]) - radius[None, :]
    distance[pairs.values[:, None] == every[None, :]] = np.inf  # the pair itself
    gap = distance.min(axis=1, initial=np.inf)
    sharper = np.divide(pairs.residuals**2, gap, out=np.full_like(gap, np.inf), where=gap > 0)
    bounds: np.ndarray = np.minimum(pairs.residuals, sharper) + state.noise
    return bounds
