"""Symmetric block Lanczos with full reorthogonalisation, thick restart, and a second, deflated start.

One cycle is a thick-restart Lanczos run (Wu and Simon 2000) on the operator restricted to the complement of the locked
vectors. When all wanted Ritz pairs have converged they are locked, and a new cycle starts from another random vector
orthogonal to them: one start vector finds one copy of a repeated eigenvalue, and misses an eigenvector that it is
orthogonal to. The run ends with a cycle that finds nothing better.

A step multiplies a block of vectors (Golub and Underwood 1977). Blocks of one vector need the fewest products; larger
blocks need fewer passes over the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor

from landscape.algorithms.lanczos.basis import (
    allocate,
    eigh,
    orthogonalize,
    random_unit_vector,
    require_finite,
    rotate,
    rounding_floor,
)
from landscape.algorithms.lanczos.certificate import search_length
from landscape.algorithms.lanczos.ritz import below_tolerance, is_gap_open, rayleigh_ritz, ritz_pairs
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import ROUNDING_SPREAD, LanczosState, WantedPairs
from landscape.algorithms.lanczos.symmetry import MAX_ASYMMETRY, asymmetry_error
from landscape.compute.inner_products import norm
from landscape.compute.shards import length_here, whole_length
from landscape.operators.base import LinearOperator

EVERY_STEP = 128  # active vectors up to which Ritz pairs are computed at every step; later at every 16th part of them
LONGER_SEARCH = 2  # times the length of a search, if a pair that is no wanted one may be one
SPARE_ROWS = 2  # of the basis beyond the wanted vectors and two blocks: one found vector, and one more


def fewest_rows(count: int, block: int = 1) -> int:
    """The fewest rows of a basis with which a run finds so many pairs, if P is not smaller."""
    return count + 2 * block + SPARE_ROWS


def lanczos(
    operator: LinearOperator,
    wanted: WantedPairs,
    *,
    seed: int = 0,
    max_basis: int,
    max_products: int,
    block: int = 1,
    spill: bool = False,
    resume: LanczosState | None = None,
) -> Iterator[LanczosState]:
    """States after each step of `block` products, until `finished(state, wanted)` or `max_products`.

    The basis has `max_basis` rows of P numbers, at least `fewest_rows` or P; with `spill` it lies in host memory.
    """
    rows = min(max_basis, operator.size)
    state = resume or _begin(operator, wanted, seed, rows, min(block, operator.size), spill)
    while not finished(state, wanted) and state.products < max_products:
        full = _is_full(state)
        if all_converged(state, wanted) or (full and state.cycle and _newcomers(state, wanted)):
            state = _lock(operator, state, wanted, seed)
        else:
            state = _step(operator, _restart(state, wanted) if full else state, seed)
        state = _append_history(state, wanted, known=is_due(state) or state.products >= max_products)
        yield state


def is_due(state: LanczosState) -> bool:
    """Whether Ritz pairs are computed after this step: a dense eigenproblem costs more than a product for many vectors.

    Their number grows by at most a sixteenth in between.
    """
    if state.exhausted or state.active <= EVERY_STEP or _is_full(state):
        return True
    interval = max(1, (1 << state.active.bit_length() - 1) // 16 // state.block)
    return state.active // state.block % interval == 0


def _is_full(state: LanczosState) -> bool:
    """Whether the basis has no room for the next step."""
    room = min(state.used + state.coupling.shape[1], state.size)
    return state.active > 0 and room > len(state.basis)


def all_converged(state: LanczosState, wanted: WantedPairs) -> bool:
    """Whether there are as many pairs as wanted, all of which are known to have converged."""
    if not is_due(state):
        return False
    if state.locked + state.active < min(wanted.count, state.size):
        return False
    if _searches(state, wanted):
        return False
    pairs = ritz_pairs(state, wanted)
    return bool(below_tolerance(pairs.residuals, pairs.values, state, wanted.tol).all())


def _searches(state: LanczosState, wanted: WantedPairs) -> bool:
    """Whether a search for skipped values has to go on: it is too short, or may be about to find a close one."""
    if not state.cycle or state.exhausted:
        return False
    length = search_length(wanted, state.cycle, state.size)
    if state.cycle_steps < length:
        return True
    return state.cycle_steps < LONGER_SEARCH * length and is_gap_open(state, wanted)


def finished(state: LanczosState, wanted: WantedPairs) -> bool:
    """Whether all wanted pairs have converged, and a second start, if there is one, has found nothing better."""
    if state.exhausted:
        return True
    if not state.products or not all_converged(state, wanted):
        return False
    if not search_length(wanted, 1, state.size):
        return True
    return state.cycle > 0 and not ritz_pairs(state, wanted).own.any()


def _begin(
    operator: LinearOperator, wanted: WantedPairs, seed: int, capacity: int, block: int, spill: bool
) -> LanczosState:
    basis = allocate((capacity, length_here(operator.size)), operator.like, spill=spill)
    nothing = np.zeros(0)
    empty = np.zeros((0, wanted.count))
    _fill(basis, 0, block, seed, 0)
    return LanczosState(
        basis=basis,
        locked_values=nothing,
        locked_residuals=nothing,
        projected=np.zeros((0, 0)),
        coupling=np.zeros((0, block)),
        leakage=np.zeros((0, 0)),
        rounding=0.0,
        scale=0.0,
        products=0,
        block=block,
        cycle=0,
        cycle_products=0,
        search_products=0,
        value_history=empty,
        residual_history=empty,
    )


def _fill(basis: Tensor, first: int, count: int, seed: int, label: int, index: int = 0) -> None:
    """Writes random unit vectors, orthogonal to all rows before them; the first is number `index` of its step."""
    for row in range(first, first + count):
        basis[row] = random_unit_vector(basis[:row], seed, label, index + row - first)


def _step(operator: LinearOperator, state: LanczosState, seed: int) -> LanczosState:
    """Multiplies the next vectors, which become active, and writes new next vectors behind them."""
    last, end = state.locked + state.active, state.used
    rows = state.basis[:end]
    image = operator.matmat(state.basis[last:end].to(operator.like.device).T).T.contiguous()
    scale = max(state.scale, *(require_finite(norm(row)) for row in image))
    overlaps = orthogonalize(image, rows)
    deviation = _asymmetry(overlaps[state.locked : last] - state.coupling, scale, operator.product_error)
    locked, alpha = overlaps[: state.locked], overlaps[last:]
    projected = np.block([[state.projected, state.coupling], [state.coupling.T, (alpha + alpha.T) / 2]])
    beta = _write_next(image, state.basis, end, rounding_floor(image.dtype, scale), seed, state.products + 1)
    return replace(
        state,
        projected=projected,
        coupling=np.concatenate([np.zeros((state.active, beta.shape[1])), beta]),
        leakage=np.column_stack([state.leakage, locked]),
        scale=scale,
        rounding=max(state.rounding, deviation, operator.product_error / ROUNDING_SPREAD),
        products=state.products + len(image),
        cycle_products=state.cycle_products + len(image),
        search_products=state.search_products + len(image) * (state.cycle > 0),
    )


def _write_next(image: Tensor, basis: Tensor, end: int, least: float, seed: int, label: int) -> np.ndarray:
    """Writes an orthogonalized image `(b, P)` behind row `end` as orthonormal rows; returns its parts along them.

    A row that is only rounding error means an invariant subspace: a random row, coupled to nothing, takes its place.
    There are fewer rows, or none, if the whole space is nearly spanned.
    """
    count = min(len(image), whole_length(basis.shape[1]) - end)
    beta = np.zeros((len(image), count))
    written = 0
    for index, row in enumerate(image):
        if written:
            beta[index, :written] = orthogonalize(row[None], basis[end : end + written])[:, 0]
        size = require_finite(norm(row))
        if written < count and size > least:
            row /= size
            if len(image) > 1:  # a short row may be mostly rounding along the others
                orthogonalize(row[None], basis[: end + written])
                row /= norm(row)
            basis[end + written] = row
            beta[index, written] = size
            written += 1
    if written < count:
        _fill(basis, end + written, count - written, seed, label, written)
    return beta


def _restart(state: LanczosState, wanted: WantedPairs) -> LanczosState:
    """Compresses the active vectors to the best Ritz vectors and keeps the next ones (Wu and Simon 2000, eq. 3-7)."""
    values, rotation = eigh(state.projected)
    best = min(max(int(ritz_pairs(state, wanted).own.sum()), 1), state.active - 1)
    blocks = state.coupling.shape[1]
    room = len(state.basis) - state.locked - 2 * blocks
    keep = max(1, min(best + (state.active - best) // 2, state.active - 1, room))
    chosen = select_eigenvalues(values, keep, wanted.which)
    kept = rotation[:, chosen]
    first, end = state.locked, state.locked + state.active
    rotate(state.basis[first:end], kept.T, state.basis[first : first + keep])
    state.basis[first + keep : first + keep + blocks] = state.basis[end : end + blocks].clone()
    return replace(
        state,
        projected=np.diag(values[chosen]),
        coupling=kept.T @ state.coupling,
        leakage=state.leakage @ kept,
    )


def _lock(operator: LinearOperator, state: LanczosState, wanted: WantedPairs, seed: int) -> LanczosState:
    """Locks the wanted pairs and begins a cycle from a random vector orthogonal to them.

    One product with the best vector measures the rounding of the products, which no Lanczos residual contains.
    """
    pairs = rayleigh_ritz(ritz_pairs(state, wanted, only_converged=True), state, wanted)
    count = len(pairs.values)
    rotate(state.basis[: state.locked + state.active], pairs.coefficients, state.basis[:count])
    best = state.basis[0].to(operator.like.device)
    measured = require_finite(norm((operator @ best).sub_(best, alpha=float(pairs.values[0]))))
    block = min(state.block, operator.size - count)
    _fill(state.basis, count, block, seed, state.products)
    return replace(
        state,
        locked_values=pairs.values,
        locked_residuals=pairs.residuals,
        projected=np.zeros((0, 0)),
        coupling=np.zeros((0, block)),
        leakage=np.zeros((count, 0)),
        rounding=max(
            state.rounding,
            math.sqrt(max(measured**2 - float(pairs.residuals[0]) ** 2, 0.0)),
            operator.product_error / ROUNDING_SPREAD,
        ),
        products=state.products + 1,
        search_products=state.search_products + 1,
        cycle=state.cycle + 1,
        cycle_products=0,
    )


def _append_history(state: LanczosState, wanted: WantedPairs, *, known: bool) -> LanczosState:
    """The state with its wanted values and residuals, if they are known, at the end of the histories."""
    values, residuals = np.full((2, 1, wanted.count), np.nan)
    if known:
        pairs = ritz_pairs(state, wanted)
        values[0, : len(pairs.values)] = pairs.values
        residuals[0, : len(pairs.values)] = pairs.residuals
    longer = replace(
        state,
        value_history=np.concatenate([state.value_history, values]),
        residual_history=np.concatenate([state.residual_history, residuals]),
    )
    if known:
        vars(longer)["candidates"] = state.candidates  # a cached property that does not depend on the histories
    return longer


def _newcomers(state: LanczosState, wanted: WantedPairs) -> bool:
    """Whether the current cycle has converged pairs that belong among the locked ones."""
    return bool(ritz_pairs(state, wanted, only_converged=True).own.any())


def _asymmetry(deviations: np.ndarray, scale: float, product_error: float) -> float:
    """The largest difference of u'Av and v'Au over the last vectors and those before.

    It counts as rounding; raises NumericalError if it is too large for that.
    """
    largest = float(np.abs(deviations).max(initial=0.0))
    if not largest <= MAX_ASYMMETRY * scale:  # also NaN
        raise asymmetry_error(largest, scale, product_error)
    return largest
