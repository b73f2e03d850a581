"""What sharpness costs: the work of its sizes, the plan of a measurement, and the sizes that a budget buys."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.analyses.base import Plan
from landscape.analyses.neighborhood.average_case import CONTROL_PRODUCTS, FOLLOWING_PAIRS, TRACE_PROBES
from landscape.analyses.neighborhood.presets import DEFAULTS
from landscape.analyses.neighborhood.search_state import FOLLOWING_STARTS, FOLLOWING_STEPS
from landscape.analyses.neighborhood.sharpness import Sharpness
from landscape.analyses.neighborhood.sharpness_result import GRADIENTS_PER_LOSS, GRADIENTS_PER_PRODUCT
from landscape.analyses.shared.work_budget import best_within, describe_price
from landscape.compute.budget import is_large
from landscape.evaluation.points import VECTORIZED_BYTES, points_per_pass
from landscape.objective import Objective
from landscape.objective.counted_time import seconds_per_gradient_by_count
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.pass_costs import gradient_memory, product_memory

EIGENVECTOR_PRODUCTS = 12  # that the starts took on trained nets
VECTORS_BESIDE_STARTS = 9  # parameter vectors that the ascents hold besides two for each start
VECTORS_OF_LARGE_MODELS = 3  # the same: scales, and the next point as it is and as weights
VECTORS_BESIDE_CONTROL = 8  # and the average case, besides those of the control variate
EXPECTED_SHARE = 0.85  # of the gradients that ascents may take: 0.8 to 0.97 on the sample nets


@dataclass(frozen=True)
class Look:
    """Sizes of a first look: starts, antithetic pairs, and the radii of a curve relative to the usual one."""

    starts: int
    draws: int
    factors: tuple[float, ...]


# Sizes of a first look, dearest first; the first ones are those of a measurement with the options as they are.
WIDE, NARROW = (1 / 4, 1 / 2, 2.0), (1 / 2, 2.0)
FIRST_LOOKS = (
    Look(DEFAULTS["starts"], DEFAULTS["draws"], WIDE),
    Look(DEFAULTS["starts"], DEFAULTS["draws"], NARROW),
    Look(5, DEFAULTS["draws"], NARROW),
    Look(5, 25, NARROW),
    Look(5, FOLLOWING_PAIRS, NARROW),
)


@dataclass(frozen=True)
class Work:
    """What a measurement evaluates at most: gradients and losses of all the data, and Hessian-vector products."""

    gradients: int
    products: int
    losses: int

    def in_gradients(self, share: float = 1.0) -> float:
        """The time in that of a gradient, where ascents take such a share of the gradients that they may take."""
        return share * self.gradients + GRADIENTS_PER_PRODUCT * self.products + GRADIENTS_PER_LOSS * self.losses + 2


def look_within_budget(analysis: Sharpness, objective: Objective) -> Look:
    """The best first look that the budget buys, by counted operations; without parts that `analysis` leaves out."""
    gradient, size = seconds_per_gradient_by_count(objective), objective.space.size

    def seconds(look: Look) -> float:
        steps = analysis.protocol.steps
        return gradient * _work(look.starts, steps, look.draws, 1, len(look.factors), size).in_gradients(EXPECTED_SHARE)

    return best_within(FIRST_LOOKS, seconds, analysis.budget)


def plan_search(analysis: Sharpness, objective: Objective) -> Plan:
    """The expected cost, from the time of one gradient."""
    protocol, samples = analysis.protocol, objective.batches.samples
    large, sizes = is_large(objective.space.size), (len(protocol.rho), len(analysis.curve))
    work = _work(protocol.starts, protocol.steps, protocol.draws, *sizes, objective.space.size)
    seconds = seconds_per_gradient(objective)
    counted = seconds_per_gradient_by_count(objective) * work.in_gradients(EXPECTED_SHARE)
    smallest = (protocol.starts, protocol.draws) == (FIRST_LOOKS[-1].starts, FIRST_LOOKS[-1].draws)
    price = describe_price(counted, analysis.budget, samples, smallest=smallest)
    batches = {"batches": f"{-(-samples // protocol.m):,} of {protocol.m:,} samples"} if protocol.m else {}
    facts = {
        **batches,
        "sizes": f"{_describe(analysis)}, {price}",
        "gradients": f"at most {work.gradients:,}, of all the data",
        "losses": f"{work.losses:,}",
        "gradient": f"{seconds:.3g} s",
    }
    vectors = max(
        2 * protocol.starts + (VECTORS_OF_LARGE_MODELS if large else VECTORS_BESIDE_STARTS) + bool(analysis.curve),
        0 if large or not protocol.draws else CONTROL_PRODUCTS + VECTORS_BESIDE_CONTROL,
    )
    vectorized = VECTORIZED_BYTES if points_per_pass(objective, protocol.starts + 1) > 1 else 0
    memory = {
        "vectors": vectors * objective.theta.nbytes,
        **(gradient_memory(objective) if large or not work.products else product_memory(objective, "hessian")),
        "points of one pass": vectorized,
    }
    phases = _phases(analysis, seconds, objective.space.size)
    return Plan(sum(memory.values()), work.products, seconds * work.in_gradients(), facts, memory, phases)


def _phases(analysis: Sharpness, gradient: float, size: int) -> dict[str, float]:
    """The expected seconds of each phase, where a gradient takes `gradient` seconds."""
    protocol, radii, followed = analysis.protocol, len(analysis.protocol.rho), len(analysis.curve)
    worst = _work(protocol.starts, protocol.steps, 0, radii, followed, size).in_gradients(EXPECTED_SHARE)
    average = _work(0, protocol.steps, protocol.draws, radii, 0, size).in_gradients()
    curve = GRADIENTS_PER_LOSS * 2 * min(protocol.draws, FOLLOWING_PAIRS) * followed
    work = {"worst": worst if protocol.starts else 0.0, "average": average if protocol.draws else 0.0, "curve": curve}
    return {phase: gradient * gradients for phase, gradients in work.items() if gradients}


def _work(starts: int, steps: int, draws: int, radii: int, followed: int, size: int) -> Work:
    """The work at so many radii, and at so many more that are followed, for a model of `size` parameters."""
    following = FOLLOWING_STARTS * FOLLOWING_STEPS if starts else 0
    control = 0 if is_large(size) else CONTROL_PRODUCTS
    return Work(
        gradients=starts * steps * radii + following * followed,
        products=(EIGENVECTOR_PRODUCTS if starts > 1 else 0) + (control + TRACE_PROBES if draws else 0),
        losses=2 * draws * radii + 2 * min(draws, FOLLOWING_PAIRS) * followed,
    )


def _describe(analysis: Sharpness) -> str:
    """The starts, pairs and radii in words."""
    protocol = analysis.protocol
    at = f"{protocol.starts} starts and {protocol.draws} pairs at rho {', '.join(f'{rho:g}' for rho in protocol.rho)}"
    if not analysis.curve:
        return at
    starts, pairs = FOLLOWING_STARTS if protocol.starts else 0, min(protocol.draws, FOLLOWING_PAIRS)
    return f"{at}, {starts} and {pairs} at {', '.join(f'{radius:g}' for radius in analysis.curve)}"
