"""The measurement of `landscape influence`: damping, factors, solves, and a pass over the training samples."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.algorithms.linear_systems.state import SolutionGoal
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.influence import self_influence
from landscape.analyses.influence.cost import cost_in_gradients, influence_cost
from landscape.analyses.influence.damping import Damping, choose_damping
from landscape.analyses.influence.gradients import (
    QueryGradients,
    inner_products,
    losses_and_counts,
    query_gradients,
    require_finite_gradients,
    without_decay,
)
from landscape.analyses.influence.influence_result import InfluenceResult
from landscape.analyses.influence.kronecker_factors import KroneckerLayers, find_factored_maps, measure_kronecker
from landscape.analyses.influence.preconditioning import build_preconditioner, sketch_rank
from landscape.analyses.influence.ranking import membership_columns, query_columns, sample_columns, self_columns
from landscape.analyses.influence.references import NamedSamples, require_apart, samples_by_name
from landscape.analyses.influence.self_influence import SelfInfluences
from landscape.analyses.influence.solving import Matrix, SolvedQueries, solve_by_factors, solve_by_iterations
from landscape.analyses.shared.phases import Phases, phase_state
from landscape.analyses.shared.products import build_operator
from landscape.choices import MEMORIZED
from landscape.compute.budget import columns_per_pass
from landscape.errors import listing
from landscape.evaluation.per_sample.outcomes import require_separate_samples
from landscape.evaluation.populations import populations, sample_digests

if TYPE_CHECKING:
    from landscape.analyses.influence.influence import Influence
    from landscape.objective import Objective

GRADIENT_ROUNDING = 1e-3  # relative rounding of a gradient p - y beyond which a note says so
MOST_COLUMNS = 32  # of a product: more share a pass, and take memory


@dataclass(frozen=True)
class Samples:
    """The samples that are scored, the objective whose matrix is inverted, the queries, and others not trained on."""

    scored: NamedSamples
    curved: Objective
    queries: NamedSamples | None
    others: NamedSamples | None = None


@dataclass(frozen=True)
class PreparedScores:
    """What all solves share: the matrix with its preconditioner, the damping, and the layers with Kronecker factors."""

    matrix: Matrix
    damping: Damping
    layers: KroneckerLayers | None
    sketched: int  # products of the preconditioner


def measure(
    analysis: Influence, objective: Objective, resume: State | None = None
) -> Generator[Progress, None, InfluenceResult]:
    """Measures the damping and the factors, solves for queries, and passes over the training samples once."""
    samples, phases = find_samples(analysis, objective), Phases(resume)
    reference = samples.curved.reference
    prepared = yield from _prepare(analysis, samples.curved, phases)
    queries, solved = yield from _solve_queries(analysis, samples, prepared, phases)
    products = yield from phases.run("scores", partial(_pass_over_samples, samples.scored, solved))
    columns = sample_columns(samples, products)
    if queries is not None and solved is not None:
        names = _query_names(analysis, samples)
        columns |= query_columns(names, queries, solved, products, samples, prepared.damping, analysis.top)
    found = others = None
    if analysis.scores_itself:
        found = yield from phases.run("self", partial(_self_influences, analysis, samples.scored, prepared))
        columns |= self_columns(
            found, products, samples, _memorization_flags(analysis, objective, samples), analysis.top
        )
        if samples.others is not None:
            passed = yield from phases.run("others", partial(_pass_over_samples, samples.others, None))
            steps = partial(_self_influences, analysis, samples.others, prepared)
            others = yield from phases.run("self of others", steps)
            columns |= membership_columns((found, others), (products, passed), samples)
    solves = [one for one in (solved, found, others) if one is not None]
    spent = prepared.sketched + sum(one.products for one in solves)
    mean_square = float(products["values"][:, -1].mean())
    return InfluenceResult(
        **columns,
        **_numbers(analysis, prepared),
        stationarity=reference.gradient_norm / mean_square**0.5 if mean_square != 0 else 0.0,
        products=prepared.damping.products + spent,
        cost_gradients=cost_in_gradients(analysis, samples, prepared.layers, prepared.damping, spent),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=samples.curved.batches.samples,
        solve_trouble=next((one.trouble for one in solves if one.trouble is not None), None),
        notes=(*_notes(prepared), *_sure_queries(columns, samples.curved)),
    )


def _prepare(analysis: Influence, curved: Objective, phases: Phases) -> Generator[Progress, None, PreparedScores]:
    """Finds the layers, the damping, the Kronecker factors and the preconditioner."""
    layers = find_factored_maps(analysis, curved) if _needs_factors(analysis) else None
    goal = SolutionGoal(analysis.tol, analysis.max_iterations, _width(curved))
    kronecker = None
    if layers is not None:
        corrected = "ekfac" in (analysis.inverse, analysis.precondition)
        kronecker = yield from phases.run("factors", partial(measure_kronecker, layers, curved, corrected=corrected))
    damping = yield from phases.run("damping", partial(choose_damping, analysis, curved, kronecker, goal.width))
    matrix = Matrix(build_operator(analysis, curved), goal, kronecker)
    sketched = sketch_rank(analysis, curved, phase_state("sketch", phases.resume or {}))
    steps = partial(build_preconditioner, analysis, curved, matrix, damping)
    preconditioner = yield from phases.run("sketch", steps)
    return PreparedScores(replace(matrix, preconditioner=preconditioner), damping, layers, sketched)


def _solve_queries(
    analysis: Influence, samples: Samples, prepared: PreparedScores, phases: Phases
) -> Generator[Progress, None, tuple[QueryGradients | None, SolvedQueries | None]]:
    """The gradients of the queries and their solutions; None without queries."""
    if samples.queries is None:
        return None, None
    queries = query_gradients(samples.queries.objective, each=bool(analysis.each))
    solve = solve_by_iterations if analysis.inverse == "cg" else solve_by_factors
    solved = yield from phases.run("queries", partial(solve, prepared.matrix, queries.rows, prepared.damping))
    return queries, solved


def plan(analysis: Influence, objective: Objective) -> Plan:
    """Bytes of solutions and factors, and the products of the solves as they are expected."""
    samples = find_samples(analysis, objective)
    layers = find_factored_maps(analysis, samples.curved) if _needs_factors(analysis) else None
    return influence_cost(analysis, samples, layers, _width(samples.curved))


def query_count(analysis: Influence, objective: Objective) -> int:
    """How many samples --query names."""
    assert analysis.query is not None
    return len(samples_by_name(analysis, objective, analysis.query, "--query").numbers)


def find_samples(analysis: Influence, objective: Objective) -> Samples:
    """The samples that the options name; raises UsageError if there are none, TaskError if they have no gradients."""
    require_separate_samples(objective)
    scored = samples_by_name(analysis, objective, analysis.train or "samples", "--train")
    queries = samples_by_name(analysis, objective, analysis.query, "--query") if analysis.query is not None else None
    others = None
    if analysis.non_members is not None:
        others = samples_by_name(analysis, objective, analysis.non_members, "--non-members")
        require_apart(scored, others)
    return Samples(scored, objective if scored.is_own else scored.objective, queries, others)


def _needs_factors(analysis: Influence) -> bool:
    return analysis.inverse != "cg" or analysis.precondition in ("kfac", "ekfac")


def _width(objective: Objective) -> int:
    return columns_per_pass(MOST_COLUMNS, objective.theta, objective.graph_bytes)


def _pass_over_samples(
    named: NamedSamples, solved: SolvedQueries | None, saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """Inner products of the samples' gradients with all solutions, their squares, losses and counts."""
    state = dict(saved)
    if not state:
        scored = without_decay(named.objective)
        blocks = [] if solved is None else [solved.x, solved.compared]
        if solved is not None and solved.earlier is not None:
            blocks.append(solved.earlier)
        columns = torch.cat(blocks, dim=1) if blocks else scored.theta.new_zeros((scored.space.size, 0))
        values = inner_products(scored, columns).cpu().numpy()
        require_finite_gradients(values[:, -1], named.name)
        losses, counts = losses_and_counts(scored).T
        state = {
            "values": values,
            "losses": (losses / counts).cpu().numpy(),
        }
        yield Progress(1, 1, f"gradients of {named.name}", partial(dict, state))
    return state


def _self_influences(
    analysis: Influence, named: NamedSamples, prepared: PreparedScores, saved: State
) -> Generator[Progress, None, SelfInfluences]:
    scored = without_decay(named.objective)
    if analysis.inverse == "cg":
        return (yield from self_influence.by_iterations(prepared.matrix, scored, prepared.damping, saved))
    return (yield from self_influence.by_factors(prepared.matrix, scored, prepared.damping, analysis.seed, saved))


def _memorization_flags(analysis: Influence, objective: Objective, samples: Samples) -> np.ndarray | None:
    """Which of the scored samples are in the population memorized; None if there is no such population."""
    known = populations(objective, analysis.population).get(MEMORIZED)
    if known is None:
        return None
    return np.isin(sample_digests(samples.scored.objective), sample_digests(known))


def _query_names(analysis: Influence, samples: Samples) -> list[str]:
    assert samples.queries is not None
    name, numbers = samples.queries.name, samples.queries.numbers
    return [f"{name}:{number}" for number in numbers] if analysis.each else [f"mean of {len(numbers)} in {name}"]


def _notes(prepared: PreparedScores) -> tuple[str, ...]:
    """Sentences about parameters without factors, and dampings by layer."""
    own = prepared.damping.of_layers
    between = f"each layer's damping is a tenth of its mean eigenvalue: {min(own):.3g} to {max(own):.3g}" if own else ""
    return (*(() if prepared.layers is None else prepared.layers.notes), *([between] if between else []))


def _sure_queries(columns: Mapping[str, Any], curved: Objective) -> list[str]:
    """A sentence on queries that are predicted so surely that rounding decides on their gradients p - y."""
    if columns.get("query_loss") is None or curved.loss.structure.kind not in ("classes", "binary"):
        return []
    sure = [
        f"{name} ({loss:.2g})"
        for name, loss in zip(columns["query"], columns["query_loss"], strict=True)
        if torch.finfo(curved.dtype).eps > GRADIENT_ROUNDING * loss
    ]
    if not sure:
        return []
    kind = str(curved.dtype).removeprefix("torch.")
    wider = " (--dtype float64)" if curved.dtype == torch.float32 else ""
    return [f"losses so near 0 that {kind} has few digits of the gradient, and of scores{wider}: {listing(sure)}"]


def _numbers(analysis: Influence, prepared: PreparedScores) -> dict[str, Any]:
    """The numbers of the damping, the tolerance, and the share of the parameters in layers."""
    damping, kronecker, is_exact = prepared.damping, prepared.matrix.kronecker, analysis.inverse == "cg"
    return {
        "damping": damping.value,
        "eigenvalue": damping.eigenvalue,
        "eigenvalue_se": damping.error,
        "tol": analysis.tol if is_exact else None,
        "covered": None if is_exact or kronecker is None else float(kronecker.covered.double().mean()),
    }
