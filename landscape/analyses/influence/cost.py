"""What influence costs: gradients as they were spent, and a plan of memory, products and seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.algorithms.linear_systems.nystrom import SKETCH_VECTORS
from landscape.analyses.base import Plan
from landscape.analyses.influence.damping import PROBES
from landscape.analyses.influence.gradients import SAMPLE_GRADIENTS
from landscape.analyses.influence.preconditioning import sketch_rank
from landscape.analyses.influence.self_influence import RESIDUAL_SAMPLES
from landscape.analyses.shared.products import count_gradients, product_facts, seconds_per_product
from landscape.evaluation.per_sample.gradients import CHUNK_BYTES
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.pass_costs import product_memory

if TYPE_CHECKING:
    from landscape.analyses.influence.damping import Damping
    from landscape.analyses.influence.influence import Influence
    from landscape.analyses.influence.influence_measurement import Samples
    from landscape.analyses.influence.kronecker_factors import KroneckerLayers

# Iterations of a query of digits-noisy at both dampings together, to 1e-3: with a sketch of 256, and without
EXPECTED_ITERATIONS, EXPECTED_WITHOUT = 170, 1030
SYSTEM_VECTORS = 6  # of each column: right side, solution, earlier solution, residual, direction, product
FLOAT64_BYTES = 8


def cost_in_gradients(
    analysis: Influence, samples: Samples, layers: KroneckerLayers | None, damping: Damping, products: int
) -> float:
    """The work in gradients over the data of the matrix: products, factors, and gradients of samples."""
    spent = count_gradients(samples.curved, "ggn", products=damping.products)
    spent += count_gradients(samples.curved, analysis.operator, products=products)
    return spent + _gradients_of_passes(analysis, samples, layers)


def _gradients_of_passes(analysis: Influence, samples: Samples, layers: KroneckerLayers | None) -> float:
    """The gradients of the passes that are no products."""
    total = samples.curved.batches.samples
    share = samples.scored.objective.batches.samples / total
    queries = 0.0 if samples.queries is None else samples.queries.objective.batches.samples / total
    each = SAMPLE_GRADIENTS if analysis.each else 1.0
    itself = SAMPLE_GRADIENTS * share if analysis.scores_itself else 0.0
    if samples.others is not None:
        itself += 2 * SAMPLE_GRADIENTS * len(samples.others.numbers) / total
    spent = count_gradients(samples.curved, gradients=1 + (SAMPLE_GRADIENTS * share) + itself + each * queries)
    spent += count_gradients(samples.curved, losses=share + (queries if analysis.each else 0))
    if layers is not None:
        passes = 2 if "ekfac" in (analysis.inverse, analysis.precondition) else 1
        spent += passes * (1 + layers.passes)
    return spent


def influence_cost(analysis: Influence, samples: Samples, layers: KroneckerLayers | None, width: int) -> Plan:
    """Bytes of systems, factors and products, and the expected products and seconds."""
    curved = samples.curved
    queries = 0 if samples.queries is None else (len(samples.queries.numbers) if analysis.each else 1)
    scored = len(samples.scored.numbers)
    itself = scored if analysis.scores_itself else 0
    itself += 0 if samples.others is None else len(samples.others.numbers)
    if analysis.inverse == "cg":
        sketched = sketch_rank(analysis, curved)
        each = min(EXPECTED_ITERATIONS if sketched else EXPECTED_WITHOUT, 2 * curved.space.size)
        solved, columns = (
            {"sketch": sketched, "queries": each * queries, "self": each * itself},
            max(queries, min(itself, width)),
        )
    else:
        solved, columns = {"queries": queries, "self": min(itself, RESIDUAL_SAMPLES)}, queries
    products = sum(solved.values())
    probes = PROBES if analysis.damping == "auto" and analysis.inverse == "cg" else 0
    memory = {
        "systems": 2 * SYSTEM_VECTORS * columns * curved.theta.nbytes,
        "gradients of samples": max(1, min(scored, CHUNK_BYTES // curved.theta.nbytes)) * curved.theta.nbytes,
        **product_memory(curved, analysis.operator, width),
    }
    if analysis.precondition == "nystrom":
        memory["sketch"] = SKETCH_VECTORS * sketch_rank(analysis, curved) * curved.theta.nbytes
    if layers is not None:
        sizes = [one.inputs**2 + one.outputs**2 + one.size for one in layers.layers]
        memory["Kronecker factors"] = 2 * FLOAT64_BYTES * sum(sizes)
    facts = product_facts(analysis, curved, min(width, max(1, 2 * columns)))[0]
    facts |= {
        "inverse": str(analysis.inverse),
        "queries": f"{queries:,} columns" if queries else "none",
        "training samples": f"{scored:,}",
        "products": f"about {products + probes:,}"
        + (": they depend on the spectrum" if analysis.inverse == "cg" else ""),
    }
    product, gradient = seconds_per_product(analysis, curved, width), seconds_per_gradient(curved)
    phases = {"damping": product * probes, **{phase: product * count for phase, count in solved.items()}}
    phases["scores"] = gradient * _gradients_of_passes(analysis, samples, layers)
    order = ("damping", "sketch", "queries", "scores", "self")
    return Plan(
        bytes=sum(memory.values()),
        products=products + probes,
        seconds=sum(phases.values()),
        facts=facts,
        memory=memory,
        phases={phase: phases[phase] for phase in order if phases.get(phase)},
    )
