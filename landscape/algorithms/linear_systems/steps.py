"""The two steps of conjugate gradients: an iteration of all running columns, and the check of those that end.

Hestenes and Stiefel 1952; with a preconditioner, Saad 2003, algorithm 9.1. Columns do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import require_finite, rounding_floor
from landscape.algorithms.linear_systems.state import (
    ColumnStatus,
    ConjugateGradientsState,
    LinearSystems,
    SolutionGoal,
)
from landscape.compute.inner_products import row_dots, row_norms
from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator

NEAR = 10.0  # tolerances at which `earlier` is kept
AIM = 0.8  # of the tolerance, at which the recursion ends: in float32 it strays by 2 % of a residual of 1e-3
LEAST_GAIN = 0.9  # verified residuals fall by so much from check to check; with less, rounding is what is left


def iterate(systems: LinearSystems, state: ConjugateGradientsState, goal: SolutionGoal) -> ConjugateGradientsState:
    """The state after one iteration of every running column; the others rest."""
    active = state.places(ColumnStatus.RUNNING)
    residual = state.residual[:, active]
    preconditioned = systems.precondition(residual)
    weighted = _require_positive(_dots(residual, preconditioned))
    before = state.weighted[active]  # 0 where a column begins
    ratio = np.divide(weighted, before, out=np.zeros_like(weighted), where=before > 0)
    direction = preconditioned + state.direction[:, active] * _like(ratio, residual)
    image = multiply(systems.operator, direction, goal.width) + systems.scale_by_damping(direction, active)
    length, curvature = _norms(direction), _dots(direction, image)
    scale = np.maximum(state.scale[active], require_finite(_norms(image)) / length)
    positive = curvature > 0
    step = np.divide(weighted, curvature, out=np.zeros_like(weighted), where=positive)
    residual = residual - image * _like(step, residual)
    solution = state.solution[:, active] + direction * _like(step, residual)
    reached = _norms(residual) / state.length[active]
    iterations = state.iterations[active] + positive
    is_near = reached <= NEAR * goal.tol
    newly = np.flatnonzero(is_near & ~state.is_near[active])
    ends = (reached <= AIM * goal.tol) | ~positive | (iterations >= goal.max_iterations)
    return replace(
        state,
        solution=_put(state.solution, solution, active),
        earlier=_put(state.earlier, solution[:, newly], active[newly]),
        residual=_put(state.residual, residual, active),
        direction=_put(state.direction, direction, active),
        weighted=_put(state.weighted, weighted, active),
        reached=_put(state.reached, reached, active),
        is_near=_put(state.is_near, is_near | state.is_near[active], active),
        curvature=_put(state.curvature, np.where(positive, np.nan, curvature / length**2), active),
        scale=_put(state.scale, scale, active),
        iterations=_put(state.iterations, iterations, active),
        status=_put(state.status, np.where(ends, ColumnStatus.CLAIMED, ColumnStatus.RUNNING), active),
        products=state.products + len(active),
        history=np.vstack([state.history, _put(state.reached, reached, active)]),
    )


def verify(systems: LinearSystems, state: ConjugateGradientsState, goal: SolutionGoal) -> ConjugateGradientsState:
    """The state after a product has told the residuals of the columns that claim to end.

    A column whose residual is above the tolerance, though its recursion says otherwise, begins again from the residual
    by the product, as long as that makes it smaller.
    """
    places = state.places(ColumnStatus.CLAIMED)
    residual = residual_of(systems, state.solution[:, places], places, goal.width)
    found = _norms(residual) / state.length[places]
    epsilons = rounding_floor(systems.right_sides.dtype, state.scale[places])
    curvature = state.curvature[places]
    negative = curvature < -epsilons
    gained = ~(found > LEAST_GAIN * state.verified[places])  # also at the first check, which has nothing before it
    spent = state.iterations[places] >= goal.max_iterations
    status = np.select(
        [found <= goal.tol, negative, ~gained | (curvature <= 0), spent],
        [ColumnStatus.CONVERGED, ColumnStatus.NEGATIVE_CURVATURE, ColumnStatus.STALLED, ColumnStatus.EXHAUSTED],
        ColumnStatus.RUNNING,
    )
    return replace(
        state,
        residual=_put(state.residual, residual, places),
        weighted=_put(state.weighted, np.zeros(len(places)), places),
        reached=_put(state.reached, found, places),
        verified=_put(state.verified, found, places),
        status=_put(state.status, status, places),
        products=state.products + len(places),
    )


def residual_of(systems: LinearSystems, solution: Tensor, places: np.ndarray, width: int) -> Tensor:
    """b - (A + damping I) x of these columns, for solutions `(P, k)`, in one pass over the data."""
    image = multiply(systems.operator, solution, width) + systems.scale_by_damping(solution, places)
    return systems.right_sides[:, places] - image


def multiply(operator: LinearOperator, block: Tensor, width: int) -> Tensor:
    """A times a block `(P, k)`, in pieces of at most `width` columns whose numbers are powers of two.

    An operator tries its strategies for every new number of columns, and that number changes whenever a column rests.
    """
    sizes = list(powers_of_two(block.shape[1], width))
    if len(sizes) == 1:
        return operator.matmat(block.contiguous())
    return torch.cat([operator.matmat(part.contiguous()) for part in torch.split(block, sizes, dim=1)], dim=1)


def powers_of_two(count: int, most: int) -> Iterator[int]:
    """Powers of two, none above `most`, that add up to the count; the largest first."""
    while count:
        size = 1 << (min(count, most).bit_length() - 1)
        yield size
        count -= size


def _require_positive(weighted: np.ndarray) -> np.ndarray:
    """r' M r of each column, unchanged; raises NumericalError if M cannot be positive definite."""
    if not (weighted > 0).all():
        raise NumericalError(
            f"the preconditioner is not positive definite: a residual r has r'Mr = {weighted.min():.3g}",
            fix="solve without it, or with a larger damping inside it",
        )
    return weighted


def _dots(left: Tensor, right: Tensor) -> np.ndarray:
    found: np.ndarray = row_dots(left.T, right.T).cpu().numpy()
    return found


def _norms(block: Tensor) -> np.ndarray:
    found: np.ndarray = row_norms(block.T).cpu().numpy()
    return found


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.from_numpy(values).to(tensor)


def _put(whole: Any, part: Any, places: np.ndarray) -> Any:
    """A copy of an array `(..., K)` or a tensor with other columns at these places; the part itself if it has all."""
    if len(places) == whole.shape[-1]:
        return part
    if not len(places):
        return whole
    copy = whole.clone() if isinstance(whole, Tensor) else whole.copy()
    copy[..., places] = part
    return copy
