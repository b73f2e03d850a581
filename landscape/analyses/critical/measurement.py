"""Measures the critical step: an update, then forward passes at steps along it until the crossing is bracketed."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.algorithms.crossing.search import CrossingSearch
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.critical.critical import ADAM
from landscape.analyses.critical.points import EvaluatedPoints, UpdatePath
from landscape.analyses.critical.result import CriticalResult
from landscape.analyses.critical.summary import summarize_crossing
from landscape.analyses.shared.products import count_gradients
from landscape.compute.inner_products import norm
from landscape.evaluation.other_checkpoints import other_checkpoint
from landscape.evaluation.populations import on_named_data
from landscape.evaluation.updates import Update, adam_step, gradient_update, update_towards
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.pass_costs import FORWARD_SHARE

if TYPE_CHECKING:
    from landscape.analyses.critical.critical import Critical
    from landscape.objective import Objective

OTHER_DATA = "--other-data"
FIRST_MOVE = 0.1  # length of the first step at most, relative to that of the weights
LONGEST_MOVE = 1e4  # relative to the length of the weights: beyond it the loss counts as one that never rises
SHORTEST_MOVE = 4.0  # in machine epsilons of the weights: shorter steps move few of them
VECTORS = 3  # the update, the moved weights, and one while they are made
FIRST_PASSES = 2  # at the weights, and at weights whose last bits are changed
OWN_STEP = "the checkpoint holds the state of Adam or its kind: --update adam follows that optimizer's step"
NO_SAMPLES = "the loss is no sum over samples here: the critical step has no interval by their choice"


def measure(
    analysis: Critical, objective: Objective, resume: State | None
) -> Generator[Progress, None, CriticalResult]:
    """Yields after each forward pass; returns the critical step with its interval."""
    reference, followed = objective.reference, objective_to_follow(analysis, objective)
    update = make_update(analysis, objective)
    path = UpdatePath(followed, update.direction)
    search, points = yield from _evaluate(analysis, objective, path, update, resume or {})
    rate = analysis.lr if analysis.lr is not None else update.rate
    own, share = followed is objective, followed.batches.samples / objective.batches.samples
    return CriticalResult(
        **summarize_crossing(search, points, rate, norm(objective.theta) / update.length),
        tol=analysis.tol,
        slope=search.slope,
        update_norm=update.length,
        other_loss=None if own else points.loss,
        other_samples=None if own else followed.batches.samples,
        cost_gradients=count_gradients(objective, gradients=int(analysis.end is None), losses=points.passes * share),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=(*update.notes, *(() if path.by_sample else (NO_SAMPLES,)), *_about_optimizer(analysis, objective)),
    )


def _evaluate(
    analysis: Critical, objective: Objective, path: UpdatePath, update: Update, saved: State
) -> Generator[Progress, None, tuple[CrossingSearch, EvaluatedPoints]]:
    """Yields after each forward pass; returns the search at its end, and the losses at its points."""
    points = EvaluatedPoints.restore(saved)

    def progress(note: str) -> Progress:
        """A pass that is done, with a snapshot of the samples' losses so far."""
        return Progress(points.passes, analysis.passes, note, points.snapshot)

    if points.base is None:
        points = replace(points, base=path.sums_at(0.0))
        yield progress("the loss at the weights")
    if points.rounded is None:
        points = replace(points, rounded=path.sums_nearby(analysis.seed))
        yield progress("rounding")
    search = _search(analysis, objective, update, points)
    while points.passes < analysis.passes:
        step = _next_step(search, points, objective, update)
        if step is None:
            break
        points = points.with_point(step, path.sums_at(step))
        search = search.with_point(step, points.changes[-1])
        yield progress(f"step {step:.4g}, change {points.changes[-1]:.3g}")
    return search, points


def plan(analysis: Critical, objective: Objective) -> Plan:
    """Bytes of a few vectors and of the samples' losses; no product, one gradient and the passes."""
    seconds = seconds_per_gradient(objective)
    losses = 8 * objective.batches.samples * (analysis.passes + FIRST_PASSES)
    memory = {"vectors": VECTORS * objective.theta.nbytes, "losses of samples": losses}
    cost = int(analysis.end is None) + analysis.passes * FORWARD_SHARE
    facts = {"forward passes": f"at most {analysis.passes}", "gradient": f"{seconds:.3g} s"}
    return Plan(bytes=sum(memory.values()), products=0, seconds=cost * seconds, facts=facts, memory=memory)


def objective_to_follow(analysis: Critical, objective: Objective) -> Objective:
    """The objective whose loss is followed: that of the other data, or the objective itself."""
    followed = objective
    if isinstance(analysis.other_data, str):
        followed = on_named_data(objective, analysis.other_data, OTHER_DATA)
    elif analysis.other_data is not None:
        followed = objective.with_data(analysis.other_data)
    return followed


def make_update(analysis: Critical, objective: Objective) -> Update:
    """The update that the options name, of the objective's own data; raises as `landscape.evaluation.updates`."""
    if analysis.end is not None:
        return update_towards(objective, analysis.end)
    return adam_step(objective) if analysis.update == ADAM else gradient_update(objective)


def _about_optimizer(analysis: Critical, objective: Objective) -> tuple[str, ...]:
    """A note where the run's own steps are not along the gradient."""
    adam = any("betas" in group for group in objective.source.groups)
    return (OWN_STEP,) if adam and analysis.end is None and analysis.update != ADAM else ()


def ingredients(analysis: Critical, objective: Objective) -> dict[str, Any]:
    """What decides the result besides the options: digests of other data, another checkpoint, an optimizer's state."""
    found = {}
    if analysis.other_data is not None:
        found["other_data"] = objective_to_follow(analysis, objective).batches.sha256
    if analysis.end is not None:
        found["end"] = other_checkpoint(objective, analysis.end, "--update towards:").digest
    if analysis.update == ADAM:
        found["optimizer"] = objective.source.sha256
    return found


def _search(analysis: Critical, objective: Objective, update: Update, points: EvaluatedPoints) -> CrossingSearch:
    """The search that the evaluated points have come to."""
    own = analysis.other_data is None
    slope = None if update.gradient_product is None or not own else -update.gradient_product
    return CrossingSearch(
        first=_first_step(analysis, objective, update, points.loss, slope),
        tol=analysis.tol,
        slope=slope,
        steps=points.steps,
        changes=points.changes,
    )


def _first_step(analysis: Critical, objective: Objective, update: Update, loss: float, slope: float | None) -> float:
    """The step that is evaluated first: that of the run, to the other checkpoint, or where the line reaches loss 0."""
    rate = analysis.lr or update.rate
    if rate:
        return rate
    if analysis.end is not None:
        return 1.0
    longest = FIRST_MOVE * (norm(objective.theta) or 1.0) / update.length
    return min(longest, abs(loss) / -slope) if slope is not None and slope < 0 and loss else longest


def _next_step(search: CrossingSearch, points: EvaluatedPoints, objective: Objective, update: Update) -> float | None:
    """The step to evaluate next: of the search, then at the ends of the interval; None if nothing is left to find."""
    if search.converged:
        finite = points.by_sample and math.isfinite(search.root)
        return points.curve.end_without_support(search.root) if finite else None
    length = norm(objective.theta) or 1.0
    epsilon = float(np.finfo(str(objective.dtype).removeprefix("torch.")).eps)
    too_short = search.lower == 0 and search.upper * update.length < SHORTEST_MOVE * epsilon * length
    too_long = search.lower * update.length > LONGEST_MOVE * length
    return None if too_short or too_long else search.next_step()
