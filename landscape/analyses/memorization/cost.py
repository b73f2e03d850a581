"""What factors, decompositions and a sweep over points cost: memory by part, the file, passes and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landscape.analyses.base import Plan
from landscape.analyses.memorization.factors import PHASE
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


@dataclass(frozen=True)
class KroneckerWork:
    """The work after the factors: points at which every population's losses are measured, and edits of each layer.

    `score_gradients` is what else is measured, in gradients.
    """

    points: int
    edits: int
    score_gradients: float = 0

    def in_gradients(self, objective: Objective, setup: CurvatureSetup, passes: int) -> float:
        """The passes through the model, in gradients over all data, with so many passes for the factors."""
        settings = setup.factor_settings
        backward = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
        forwards = self.points * samples_of_setup(objective, setup) / objective.batches.samples / FORWARDS_PER_GRADIENT
        return passes * (1 + backward) + self.score_gradients + forwards

    def dense_seconds(self, setup: CurvatureSetup) -> float:
        """The seconds of eigendecompositions and edits, whose operations are counted."""
        edits = sum(4 * self.edits * one.size * (one.inputs + one.outputs) for one in setup.layers)
        decompositions = sum(EIGH_OPERATIONS * (one.inputs**3 + one.outputs**3) for one in setup.layers)
        return (edits + decompositions) / FLOAT64_RATE


def samples_of_setup(objective: Objective, setup: CurvatureSetup) -> int:
    """The samples of all populations, or of the data where there are none."""
    return sum(one.batches.samples for one in setup.populations.values()) or objective.batches.samples


def seconds_by_count(objective: Objective, setup: CurvatureSetup, work: KroneckerWork, gradient: float) -> float:
    """The seconds by counting, where a gradient takes `gradient` seconds; the factors are measured in one pass."""
    return gradient * work.in_gradients(objective, setup, 1) + work.dense_seconds(setup)


def estimate_cost(
    objective: Objective, setup: CurvatureSetup, work: KroneckerWork, facts: Mapping[str, str], *, sweep: str
) -> Plan:
    """The cost of the factors and of the work after them, from the time of one gradient; `sweep` names that phase."""
    points, edits = work.points, work.edits
    samples = samples_of_setup(objective, setup)
    settings, groups = setup.factor_settings, kfac.groups_in_memory
    passes = len(list(groups(objective, setup.layers, coupled=settings.coupled)))
    backward = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
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
    gradient, factors = seconds_per_gradient(objective), passes * (1 + backward)
    others = work.in_gradients(objective, setup, passes) - factors - work.score_gradients
    phases = {
        PHASE: gradient * factors,
        sweep: gradient * others + work.dense_seconds(setup) + read,
        "scores": gradient * work.score_gradients,
    }
    return Plan(
        bytes=sum(memory.values()),
        products=0,
        seconds=sum(phases.values()),
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
        phases={phase: seconds for phase, seconds in phases.items() if seconds},
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
