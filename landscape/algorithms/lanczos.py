"""Symmetric Lanczos with full reorthogonalisation, thick restart, and a second, deflated start.

One cycle is a thick-restart Lanczos run (Wu and Simon 2000) on the operator restricted to the complement of the locked
vectors. When all wanted Ritz pairs have converged they are locked, and a fresh cycle starts from another random vector
orthogonal to them: one start vector finds one copy of a repeated eigenvalue, and none at all of an eigenvector that it
happens to be orthogonal to. The run ends with a cycle that finds nothing better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from landscape.algorithms.basis import eigh, finite, floor, fresh, norm, orthogonalise, rotate
from landscape.algorithms.ritz import refined, ritz, small
from landscape.algorithms.selection import select
from landscape.algorithms.state import LanczosState, Wanted
from landscape.algorithms.symmetry import ASYMMETRY, asymmetric
from landscape.operators.base import LinearOperator

SPARE = 4  # basis vectors beyond the wanted ones: a found one, one being refined, one more, and the next


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


def all_converged(state: LanczosState, wanted: Wanted) -> bool:
    """Whether as many pairs as wanted are known and all have converged."""
    if state.locked + state.active < min(wanted.count, state.basis.shape[1]):
        return False
    searching = state.cycle and state.cycle_products < wanted.search_length(state.cycle, state.basis.shape[1])
    if searching and not state.exhausted:
        return False
    pairs = ritz(state, wanted)
    return bool(small(pairs.residuals, pairs.values, state, wanted.tol).all())


def finished(state: LanczosState, wanted: Wanted) -> bool:
    """Whether all wanted pairs have converged and a second start, if asked for, found nothing better."""
    if state.exhausted:
        return True
    if not state.products or not all_converged(state, wanted):
        return False
    if not wanted.search_length(1, state.basis.shape[1]):
        return True
    return state.cycle > 0 and not ritz(state, wanted).own.any()


def _begin(operator: LinearOperator, wanted: Wanted, seed: int, capacity: int) -> LanczosState:
    basis = torch.empty((capacity, operator.size), dtype=operator.like.dtype, device=operator.like.device)
    nothing = np.zeros(0)
    empty = np.zeros((0, wanted.count))
    state = LanczosState(
        basis, nothing, nothing, np.zeros((0, 0)), nothing, np.zeros((0, 0)), 0.0, 0.0, 0, 0, 0, 0, empty, empty
    )
    basis[0] = fresh(basis[:0], seed, 0)
    return state


def _step(operator: LinearOperator, state: LanczosState, seed: int) -> LanczosState:
    """One product: the next vector becomes active, and a new next vector is committed behind it."""
    last = state.locked + state.active
    rows = state.basis[: last + 1]
    image = operator @ state.basis[last]
    scale = max(state.scale, finite(norm(image)))
    overlaps = orthogonalise(image, rows)
    deviation = _asymmetry(overlaps[state.locked : last] - state.coupling, scale)
    locked, alpha = overlaps[: state.locked], overlaps[last]
    projected = np.block([[state.projected, state.coupling[:, None]], [state.coupling[None, :], alpha]])
    beta = norm(image)
    if last + 1 == state.basis.shape[1]:
        beta = 0.0  # the whole space is spanned
    elif beta <= floor(image.dtype, scale):
        beta = 0.0  # an invariant subspace: go on from a fresh direction, not coupled to it
        state.basis[last + 1] = fresh(rows, seed, state.products + 1)
    else:
        state.basis[last + 1] = image / beta
    return replace(
        state,
        projected=projected,
        coupling=np.append(np.zeros(state.active), beta),
        leakage=np.column_stack([state.leakage, locked]),
        scale=scale,
        rounding=max(state.rounding, deviation),
        products=state.products + 1,
        cycle_products=state.cycle_products + 1,
        search_products=state.search_products + (state.cycle > 0),
    )


def _restart(state: LanczosState, wanted: Wanted) -> LanczosState:
    """Compresses the active vectors to the best Ritz vectors; the next vector stays (Wu and Simon 2000, eq. 3-7)."""
    values, rotation = eigh(state.projected)
    best = min(max(int(ritz(state, wanted).own.sum()), 1), state.active - 1)
    keep = min(best + (state.active - best) // 2, state.active - 1)
    chosen = select(values, keep, wanted.which)
    kept = rotation[:, chosen]
    first, end = state.locked, state.locked + state.active
    rotate(state.basis[first:end], kept.T, state.basis[first : first + keep])
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
    pairs = refined(ritz(state, wanted, only_converged=True), state, wanted)
    count = len(pairs.values)
    rotate(state.basis[: state.locked + state.active], pairs.coefficients, state.basis[:count])
    best = state.basis[0]
    measured = finite(norm((operator @ best).sub_(best, alpha=float(pairs.values[0]))))
    state.basis[count] = fresh(state.basis[:count], seed, state.products)
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
    vars(recorded)["candidates"] = state.candidates  # a cached property, and the histories have no part in it
    return recorded


def _newcomers(state: LanczosState, wanted: Wanted) -> bool:
    """Whether the current cycle has converged pairs that belong among the locked ones."""
    return bool(ritz(state, wanted, only_converged=True).own.any())


def _asymmetry(deviations: np.ndarray, scale: float) -> float:
    """u'Av and v'Au are both known for the last vector and those before: how far they differ at most.

    It counts as rounding; raises NumericalError if it is too much for that.
    """
    largest = float(np.abs(deviations).max(initial=0.0))
    if largest > ASYMMETRY * scale:
        raise asymmetric(largest, scale)
    return largest
