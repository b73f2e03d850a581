"""What factors, decompositions and a sweep over points cost: memory by part, the file, passes and seconds."""

from __future__ import annotations

from collections.abc import Mapping

from landscape.analyses.base import Plan
from landscape.analyses.memorization.setup import CurvatureSetup
from landscape.errors import listing
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers import kfac
from landscape.evaluation.layers.tensor_store import store_limit
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective
from landscape.objective.micro_batch import seconds_per_gradient

MAX_LISTED_LAYERS = 6  # in a plan
FORWARDS_PER_GRADIENT = 3  # a forward pass without a graph takes about a third of the time of a gradient
FLOAT64_BYTES = 8
EIGH_MATRICES = 4  # of an eigendecomposition: the matrix, its vectors, and a workspace of two more
WEIGHT_MATRICES = 5  # of an edit in float64: weight, coordinates, the part that is kept, and two products
EIGH_OPERATIONS = 25  # of an eigendecomposition with vectors, times n^3
FLOAT64_RATE = 2e10  # operations in a second, on two cores
FILE_RATE = 1e9  # bytes in a second, from a file that lies in free memory


def estimate_cost(
    objective: Objective,
    setup: CurvatureSetup,
    *,
    points: int,
    edits: int,
    facts: Mapping[str, str],
    score_gradients: float = 0,
) -> Plan:
    """The cost of the factors, of `edits` of each layer, and of every population's losses at `points` points.

    `score_gradients` is what else is measured, in gradients.
    """
    samples = sum(one.batches.samples for one in setup.populations.values()) or objective.batches.samples
    settings, groups = setup.factor_settings, kfac.groups_in_memory
    passes = len(list(groups(objective, setup.layers, coupled=settings.coupled)))
    backward = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
    forwards = points * samples / objective.batches.samples / FORWARDS_PER_GRADIENT
    gradients = passes * (1 + backward) + score_gradients
    dense = sum(
        EIGH_OPERATIONS * (one.inputs**3 + one.outputs**3) + 4 * edits * one.size * (one.inputs + one.outputs)
        for one in setup.layers
    )
    sums = kfac.factor_bytes(objective, setup.layers, coupled=settings.coupled)
    bases = sum(_decomposition_bytes(one) for one in setup.layers)
    limit = int(store_limit(objective))
    in_file = max(sums - limit, 0) + max(bases - limit, 0)
    read = edits * max(bases - limit, 0) / FILE_RATE
    memory = {
        "sums of the factors": min(sums, limit),
        "eigenvectors": min(bases, limit),
        "one layer at work": max(_layer_bytes(objective, one) for one in setup.layers),
        "changed weights": sum(one.size for one in setup.layers) * objective.theta.itemsize,
    }
    return Plan(
        bytes=sum(memory.values()),
        products=0,
        seconds=seconds_per_gradient(objective) * (gradients + forwards) + dense / FLOAT64_RATE + read,
        facts={
            "layers": listing((one.name for one in setup.layers), MAX_LISTED_LAYERS),
            "populations": ", ".join(setup.populations) or "none",
            **facts,
            "labels": f"{settings.labels}, {backward} backward passes for each forward pass",
            "passes for the factors": f"{passes}",
            "points": f"{points:,}, each a forward pass over {samples:,} samples of populations",
            "edits": f"{edits:,} of each layer, after one eigendecomposition of each factor",
            **({"file": f"{in_file / 1e6:,.1f} MB while it measures"} if in_file else {}),
        },
        memory=memory,
    )


def _decomposition_bytes(layer: LinearMap) -> int:
    """Bytes of both eigenbases of a layer, and of its coordinates between them."""
    return FLOAT64_BYTES * (layer.inputs**2 + layer.outputs**2 + layer.size)


def _layer_bytes(objective: Objective, layer: LinearMap) -> int:
    """Bytes at the largest step of one layer: its addition to the sums, an eigendecomposition, or an edit."""
    squares, larger = layer.inputs**2 + layer.outputs**2, max(layer.inputs, layer.outputs)
    addition = 2 * squares * objective.theta.itemsize
    decomposition = larger**2 * (objective.theta.itemsize + EIGH_MATRICES * FLOAT64_BYTES)
    smaller_basis = min(layer.inputs, layer.outputs) ** 2 * FLOAT64_BYTES
    edit = FLOAT64_BYTES * (squares + WEIGHT_MATRICES * layer.size)
    return max(addition, decomposition + smaller_basis, edit)
