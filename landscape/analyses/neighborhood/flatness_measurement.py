"""The measurement of flatness: ascents of the gradient's norm and of the loss, and the largest eigenvalue."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.lanczos import lanczos, ritz
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.neighborhood.ball_maxima import BallMaxima, ascent_columns, random_start_note
from landscape.analyses.neighborhood.ball_objective import (
    gradient_norm_in_ball,
    layer_groups,
    loss_in_ball,
    perturbation_scales,
    require_finite_base,
    with_logit_norm,
)
from landscape.analyses.neighborhood.flatness import Flatness, FlatnessResult
from landscape.analyses.neighborhood.search_state import BallSearch
from landscape.analyses.neighborhood.worst_case import maximize_in_balls
from landscape.analyses.shared.expected_steps import expected_steps
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.products import count_gradients
from landscape.analyses.shared.rounding import ROUNDING_DRAWS, smallest_clear_rise
from landscape.compute.inner_products import norm
from landscape.objective import Objective
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators import HessianOperator, ScaledOperator
from landscape.operators.pass_costs import product_memory

GRADIENTS_PER_STEP = 3.5  # time of a step of the ascent of r1, a gradient and a product, over that of a gradient
EIGENVALUE_PRODUCTS = 40  # of the eigenvalue, and of the starts of both searches, on trained nets
EIGENVALUE_TOL = 1e-3  # residual of the eigenvalue, relative
EIGENVALUE_ROWS = 18  # of the basis: the memory that the two vectors of each of nine starts took before
MAX_EIGENVALUE_PRODUCTS = 200


@dataclass(frozen=True)
class LeadingEigenvalue:
    """An eigenvalue with its residual, and the products that it took."""

    value: float
    residual: float
    products: int


def measure(
    analysis: Flatness, objective: Objective, resume: State | None = None
) -> Generator[Progress, None, FlatnessResult]:
    """Measures the largest rise of the loss (r0) and the largest gradient norm (r1) in each ball, and lambda 1.

    Yields after each product and each round of ascents.
    """
    subject, groups = with_logit_norm(analysis, objective), layer_groups(analysis, objective)
    scaling = perturbation_scales(analysis, objective)
    scales = scaling.values
    base, gradient = subject.value_and_gradient()
    require_finite_base(float(base), analysis.logit_norm)
    length = norm(scales * gradient)
    rounding = smallest_clear_rise(
        objective, lambda theta: norm(scales * subject.gradient(theta)), length, analysis.seed
    )
    search = BallSearch("l2", analysis.radii, analysis.starts, analysis.steps, None, analysis.seed)
    phases = Phases(resume)
    on_loss, on_gradient = loss_in_ball(scales, analysis.starts), gradient_norm_in_ball(scales)
    zeroth = yield from phases.run("zeroth", partial(maximize_in_balls, subject, scales, on_loss, search, ()))
    first = yield from phases.run("first", partial(maximize_in_balls, subject, scales, on_gradient, search, groups))
    leading = yield from phases.run("eigenvalue", partial(_largest_eigenvalue, subject, scales, analysis.seed))
    value = leading.value
    return FlatnessResult(
        **_curves(np.array(analysis.radii), zeroth, first, length, value),
        **ascent_columns(first, groups),
        resolved=first.largest()[0] > rounding,
        loss=objective.reference.loss,
        gradient_norm=objective.reference.gradient_norm,
        scaled_gradient=length,
        lambda_1=value,
        lambda_1_residual=leading.residual,
        normalised_loss=None if subject is objective else float(base),
        rounding=rounding,
        smallest_rho=rounding / value if value > 0 else None,
        gradients=zeroth.evaluations + first.evaluations + 2,
        products=first.evaluations + 1,
        cost_gradients=count_gradients(
            objective,
            gradients=zeroth.gradients + first.gradients + 1 + ROUNDING_DRAWS,
            products=leading.products,
        ),
        steps=analysis.steps,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=(
            *scaling.notes,
            *(random_start_note(zeroth, analysis.starts) or random_start_note(first, analysis.starts)),
        ),
    )


def plan(analysis: Flatness, objective: Objective) -> Plan:
    """The expected cost, from the time of one gradient."""
    each = analysis.starts * analysis.steps * len(analysis.radii)
    seconds = seconds_per_gradient(objective)
    vectors = (2 * analysis.starts + 6) * objective.theta.nbytes
    memory = {"vectors": vectors, **product_memory(objective, "hessian")}
    return Plan(
        bytes=sum(memory.values()),
        products=each + EIGENVALUE_PRODUCTS,
        seconds=seconds * (each * (1 + GRADIENTS_PER_STEP) + EIGENVALUE_PRODUCTS * (GRADIENTS_PER_STEP - 1)),
        facts={"gradients": f"at most {2 * each:,}", "gradient": f"{seconds:.3g} s"},
        memory=memory,
        phases={
            "zeroth": seconds * each,
            "first": seconds * each * GRADIENTS_PER_STEP,
            "eigenvalue": seconds * EIGENVALUE_PRODUCTS * (GRADIENTS_PER_STEP - 1),
        },
    )


def _curves(
    radii: np.ndarray, zeroth: BallMaxima, first: BallMaxima, length: float, eigenvalue: float
) -> dict[str, Any]:
    """r1 and r0 over the radii, with their parts and ratios; `length` is ||c g|| at the weights."""
    rise, loss_rise = first.largest()[0], zeroth.largest()[0]
    largest, estimate = length + rise, length + first.one_step[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "rho": radii,
            "r1": radii * largest,
            "r0": loss_rise,
            "r1_over_rho2": largest / radii,
            "gradient_over_rho": length / radii,
            "excess": rise / radii,
            "r1_ratio": largest / (radii * eigenvalue),
            "r0_ratio": 2 * loss_rise / (radii**2 * eigenvalue),
            "gam_r1": radii * estimate,
            "gam_fraction": estimate / largest,
        }


def _largest_eigenvalue(
    objective: Objective, scales: Tensor, seed: int, saved: State
) -> Generator[Progress, None, LeadingEigenvalue]:
    """The largest eigenvalue of C H C; yields after each product."""
    wanted = WantedPairs(1, tol=EIGENVALUE_TOL)
    operator = ScaledOperator(HessianOperator(objective), scales)
    state = earlier = restore(LanczosState, saved, operator.like) if saved else None
    for state in lanczos.lanczos(
        operator, wanted, seed=seed, max_basis=EIGENVALUE_ROWS, max_products=MAX_EIGENVALUE_PRODUCTS, resume=earlier
    ):
        note = f"largest eigenvalue, {state.products} products"
        done = min(state.products, MAX_EIGENVALUE_PRODUCTS)
        total = expected_steps(done, EIGENVALUE_PRODUCTS, MAX_EIGENVALUE_PRODUCTS)
        yield Progress(done, total, note, partial(snapshot, state))
    assert state is not None  # MAX_EIGENVALUE_PRODUCTS >= 1
    pairs = ritz.ritz_pairs(state, wanted)
    residual = float(ritz.true_residuals(pairs.residuals, state)[0])
    return LeadingEigenvalue(float(pairs.values[0]), residual, state.products)
