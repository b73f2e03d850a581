"""Measures eigenpairs: the Lanczos search, then the diagonal blocks, the data's error and PyHessian's values."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.algorithms.lanczos import lanczos, ritz
from landscape.algorithms.lanczos.basis import allocate, orthogonalize
from landscape.algorithms.lanczos.certificate import certificate, search_length
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import LanczosState
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses import eig_blocks
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.eig import EigResult
from landscape.analyses.eig_basis import BasisRows, keeps_vectors, plan_basis, search_target
from landscape.analyses.eig_bias import data_biases
from landscape.analyses.eig_data_error import leading_data_error
from landscape.analyses.eig_populations import add_eigenvalues_by_population
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.data_error import parse_share, relative_error
from landscape.analyses.shared.label_noise import label_standard_errors
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.populations import find_parts
from landscape.analyses.shared.products import (
    BLOCK_COST,
    build_operator,
    count_gradients,
    group_quadratics,
    preconditioner_notes,
    product_facts,
    products_of_blocks,
    require_resampling,
    seconds_per_product,
)
from landscape.analyses.shared.sample_choice import ChosenSamples, choose_samples, describe_choice, fit_options
from landscape.compute.timing import run_seconds
from landscape.operators import PyHessianOperator
from landscape.operators.pass_costs import product_memory
from landscape.storage.paths import EIGENVECTORS

if TYPE_CHECKING:
    from landscape.algorithms.lanczos.state import WantedPairs
    from landscape.analyses.eig import Eig
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

# products until convergence, 3.3 k + 12 + 5 (block - 1): k = 5 took 12 on trained nets, 57 on an untrained one
EXPECTED_PRODUCTS = (3.3, 12, 5)
TIMED_COORDINATES = 1 << 20  # of a row of the basis in a plan: more take memory, and tell no more


def measure(analysis: Eig, objective: Objective, resume: State | None) -> Generator[Progress, None, EigResult]:
    """Yields after each product, then after each pass for blocks; returns the eigenpairs."""
    analysis, at_hand = fit_options(analysis, "tol", objective.batches.samples), objective.batches.samples
    find_parts(analysis, objective)
    shift, reference, phases = _uniform_shift(analysis, objective), objective.reference, Phases(resume)
    objective = objective.variant(decay=None) if shift else objective
    choice = yield from _choose_part(analysis, objective, shift, phases)
    objective = choice.objective
    rows, wanted = plan_basis(analysis, objective), search_target(analysis)
    operator = build_operator(analysis, objective)
    require_resampling(analysis, operator, objective)
    state = yield from phases.run("all", partial(_search, analysis, operator, rows, wanted))
    pairs = ritz.final_pairs(state, wanted)
    converged = ritz.is_converged(pairs, state, analysis.tol)
    pad = partial(_pad, analysis.k)
    result = EigResult(
        eigenvalues=pad(pairs.values),
        residuals=pad(ritz.true_residuals(pairs.residuals, state)),
        # of a value that has not converged only the residual is certain: it may be another eigenvalue's
        error_bounds=pad(np.where(converged, ritz.error_bounds(pairs, state, wanted), np.nan)),
        converged=pad(converged) == 1,
        ritz_values=state.value_history,
        ritz_residuals=ritz.true_residuals(state.residual_history, state),
        tol=analysis.tol,
        products=state.products,
        cost_gradients=choice.gradients + count_gradients(objective, analysis.operator, products=state.products),
        search_products=state.search_products,
        rounding=state.noise,
        confirmed=(analysis.confirm > 0 or analysis.certify) and lanczos.finished(state, wanted),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=preconditioner_notes(analysis, objective),
        vectors=ritz.ritz_vectors(pairs, state.basis).T.cpu().numpy() if keeps_vectors(analysis, objective) else None,
        search_passes=state.search_passes,
        **_certificate_fields(analysis, state, wanted),
    )
    if groups := analysis.groups(objective):
        limits: dict[str, int] = {"steps": rows.beside, "most": analysis.max_products, "seed": analysis.seed}
        blocks = yield from phases.run(
            eig_blocks.PHASE,
            lambda saved: eig_blocks.search_blocks(operator, groups, wanted, resume=saved, **limits),
            independent=True,
        )
        result = replace(result, **eig_blocks.block_columns(groups, blocks, wanted, operator.product_error))
        result = _add_products(analysis, objective, result, products_of_blocks(blocks.passes, len(groups)))
    result = _add_label_errors(analysis, operator, objective, result)
    if analysis.resample:
        result = yield from _resample(analysis, operator, objective, result, phases)
    if analysis.by is not None:
        result = yield from add_eigenvalues_by_population(analysis, objective, result, phases)
    result = _add_data_error(analysis, _shift_eigenvalues(result, shift), at_hand)
    return _cross_check(analysis, result, objective) if analysis.cross_check else result


def _choose_part(
    analysis: Eig, objective: Objective, shift: float, phases: Phases
) -> Generator[Progress, None, ChosenSamples]:
    """The objective on as few samples as --data-error needs; all of it without that option."""
    if not analysis.data_error:
        return ChosenSamples(objective)
    require_resampling(analysis, build_operator(analysis, objective), objective)
    measure_error = partial(leading_data_error, analysis, shift=shift)
    return (yield from choose_samples(analysis, objective, phases, measure_error))


def plan(analysis: Eig, objective: Objective) -> Plan:
    """Bytes of the basis and of the graphs, products until convergence with one search, and their seconds."""
    rows, block = plan_basis(analysis, objective), analysis.block
    search = search_length(search_target(analysis), 1, objective.space.size)
    search = search * block + (search > 0)  # one more measures the rounding
    expected = EXPECTED_PRODUCTS[0] * analysis.k + EXPECTED_PRODUCTS[1] + EXPECTED_PRODUCTS[2] * (block - 1)
    expected = min(round(expected) + search, analysis.max_products)
    products = -(-expected // block) * block
    each = seconds_per_product(analysis, objective, block)
    basis_seconds = _seconds_per_row(objective) * min(rows.count, products) / 2  # half of the rows, on average
    phases = {"all": (each + basis_seconds) * (products + 1)}  # one more for loss and gradient
    where = " in the host's memory" if rows.spill else ""
    strategy, _ = product_facts(analysis, objective, block)
    facts = {"basis": f"{rows.count} vectors{where}", "product": f"about {each:.3g} s", **strategy}
    vectors = rows.count
    if analysis.data_error:
        facts["samples"] = describe_choice(objective.batches.samples, analysis.data_error)
    if analysis.resample:
        facts["resampling"] = f"about {products} products with half of the data, twice"
        phases["half"] = each * products
    if groups := analysis.groups(objective):
        per_pass = each * (1 + len(groups) * BLOCK_COST)
        facts["blocks"] = f"{len(groups)}, about {products} passes of {per_pass:.3g} s more"
        phases[eig_blocks.PHASE] = per_pass * products
        vectors += rows.count + analysis.k
    memory = {"basis": vectors * objective.theta.nbytes, **product_memory(objective, analysis.operator, block)}
    return Plan(sum(memory.values()), products, sum(phases.values()), facts, memory, phases)


def sidecars(analysis: Eig, result: EigResult, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
    """The eigenvectors by parameter, `(k, *shape)` each, if --save-vectors asks for them."""
    if not analysis.save_vectors or result.vectors is None:
        return {}
    rows = torch.from_numpy(result.vectors.T)
    parts = [objective.space.unflatten(row) for row in rows]
    return {EIGENVECTORS: {name: torch.stack([part[name] for part in parts]).numpy() for name in parts[0]}}


def _uniform_shift(analysis: Eig, objective: Objective) -> float:
    """What weight decay adds to every eigenvalue, if it does; the search then goes without it.

    Its tolerance would otherwise be relative to the rate: with a rate far above the eigenvalues of the loss, the first
    vectors would do.
    """
    decay = objective.decay
    if not decay or not decay.covers_all or analysis.operator not in ("hessian", "ggn", "fisher"):
        return 0.0
    return decay.rate


def _shift_eigenvalues(result: EigResult, shift: float) -> EigResult:
    """The result with `shift` added to every eigenvalue."""
    names = ("eigenvalues", "ritz_values", "layer_eigenvalue", "layer_eigenvalues")
    values = {name: getattr(result, name) for name in names if shift}
    return replace(result, **{name: value + shift for name, value in values.items() if value is not None})


def _search(
    analysis: Eig, operator: LinearOperator, rows: BasisRows, wanted: WantedPairs, saved: State
) -> Generator[Progress, None, LanczosState]:
    """Yields after each product; returns the last state."""
    state = earlier = (
        restore(LanczosState, saved, operator.like, allocate=partial(allocate, spill=rows.spill)) if saved else None
    )
    for state in lanczos.lanczos(
        operator,
        wanted,
        seed=analysis.seed,
        max_basis=rows.count,
        max_products=analysis.max_products,
        block=analysis.block,
        spill=rows.spill,
        resume=earlier,
    ):
        yield _progress(analysis, state, wanted)
    assert state is not None  # max_products >= 1
    return state


def _progress(analysis: Eig, state: LanczosState, wanted: WantedPairs) -> Progress:
    values, converged = ritz.latest_values(state, analysis.tol)
    note = f"{state.products} products"
    if state.cycle:
        length = search_length(wanted, state.cycle, state.size)
        note += f", looking for skipped values {min(state.cycle_steps, length)}/{length}"
    elif len(values):
        note += f", largest {values[0]:.5g}"
    return Progress(converged, analysis.k, note, partial(snapshot, state))


def _pad(k: int, values: np.ndarray) -> np.ndarray:
    """The values as `(k,)`; NaN for those that the products did not suffice for."""
    return np.concatenate([values, np.full(k - len(values), np.nan)])


def _certificate_fields(analysis: Eig, state: LanczosState, wanted: WantedPairs) -> dict[str, Any]:
    if not analysis.certify:
        return {}
    proof = certificate(state, wanted) if lanczos.finished(state, wanted) else None
    if proof is None:
        return {"certified": False}
    return {
        "certified": True,
        "certified_gap": proof.gap,
        "certified_margin": proof.margin,
        "certified_probability": proof.probability,
    }


def _resample(
    analysis: Eig, operator: LinearOperator, objective: Objective, result: EigResult, phases: Phases
) -> Generator[Progress, None, EigResult]:
    """Adds the errors by the choice of samples and the biases by their number; yields after each product.

    The error is that of v'Hv for an eigenvector v, held fixed: to first order that of the eigenvalue.
    """
    assert result.vectors is not None  # it was measured just now
    vectors = torch.from_numpy(result.vectors).to(operator.like)
    sums, counts = group_quadratics(analysis, operator, objective, vectors)
    errors = _pad(analysis.k, standard_errors(sums, counts))
    biases = yield from data_biases(analysis, operator, result.samples, counts, result.eigenvalues, phases)
    result = _add_products(analysis, objective, result, vectors.shape[1] + biases.products)
    return replace(result, data_standard_errors=errors, data_biases=biases.values)


def _add_label_errors(analysis: Eig, operator: LinearOperator, objective: Objective, result: EigResult) -> EigResult:
    """The result with the errors by the labels drawn, for a matrix that has drawn labels."""
    errors = label_standard_errors(operator, result.vectors)
    if errors is None:
        return result
    result = replace(result, label_standard_errors=_pad(analysis.k, errors))
    return _add_products(analysis, objective, result, len(errors))


def _add_products(analysis: Eig, objective: Objective, result: EigResult, products: float) -> EigResult:
    """The result whose cost contains so many products more."""
    return add_cost(result, count_gradients(objective, analysis.operator, products=products))


def _add_data_error(analysis: Eig, result: EigResult, at_hand: int) -> EigResult:
    """The result with the error of rank 0 by the data beside the one that was asked for, if one was."""
    if not analysis.data_error or result.data_standard_errors is None or result.data_biases is None:
        return result
    errors = (float(values[0]) for values in (result.data_standard_errors, result.data_biases, result.eigenvalues))
    target = parse_share(analysis.data_error)
    return replace(result, data_error=relative_error(*errors), data_error_target=target, data_samples=at_hand)


def _cross_check(analysis: Eig, result: EigResult, objective: Objective) -> EigResult:
    """The result with the eigenvalues that PyHessian finds, and their relative differences from ours."""
    theirs = np.array(PyHessianOperator(objective).power_iteration(analysis.k, analysis.seed))
    theirs = theirs[select_eigenvalues(theirs, analysis.k, analysis.which)]
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = (theirs - result.eigenvalues) / np.abs(result.eigenvalues)
    return replace(result, pyhessian_eigenvalues=theirs, pyhessian_relative_difference=difference)


def _seconds_per_row(objective: Objective) -> float:
    """Seconds to orthogonalize one vector against one row of the basis, from a part of them; 0 on the meta device."""
    if objective.device.type == "meta":
        return 0.0
    size = objective.space.size
    part = torch.ones((1, min(size, TIMED_COORDINATES)), dtype=objective.dtype)
    rows = torch.zeros((2, part.shape[1]), dtype=objective.dtype)
    return run_seconds(lambda: orthogonalize(part, rows)) / len(rows) * size / part.shape[1]
