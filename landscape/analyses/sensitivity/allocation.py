"""The bits of each layer for which the sum of the layers' changes is smallest within a budget of bits."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.analyses.base import Progress, State
from landscape.analyses.sensitivity.change_vectors import ChangeVectors
from landscape.analyses.sensitivity.real_changes import losses_with
from landscape.analyses.sensitivity.sample_groups import SampleGroups
from landscape.analyses.sensitivity.weight_changes import WeightChange
from landscape.errors import NumericalError
from landscape.objective import Objective

ROUNDING = 1e-12  # of a budget: a decimal number such as 4.2 is not exact in binary


@dataclass(frozen=True)
class Allocation:
    """The bits `(L,)` of each of L layers with their sizes `(L,)`, and the bits of the uniform allocation beside it.

    `expected` is the sum of the costs, which is smallest.
    """

    bits: np.ndarray
    sizes: np.ndarray
    uniform: int
    expected: float

    @property
    def mean_bits(self) -> float:
        """The mean bits for a weight."""
        return float(self.bits @ self.sizes / self.sizes.sum())


def allocate_bits(costs: np.ndarray, sizes: np.ndarray, bits: np.ndarray, budget: float) -> Allocation:
    """The allocation of smallest summed `costs` `(L, B)` with at most `budget` bits of the choices `(B,)` on average.

    It solves the multiple-choice knapsack problem exactly, by integer programming. Raises NumericalError if a cost is
    not finite, or no solution is found.
    """
    if not np.isfinite(costs).all():
        raise NumericalError(
            "no bits can be chosen: changes of the loss are not finite", fix="--dtype float64, or more --bits"
        )
    choice = solve_knapsack(costs, np.outer(sizes, bits), np.floor(budget * sizes.sum() * (1 + ROUNDING)))
    uniform = int(bits[bits <= budget * (1 + ROUNDING)].max())
    return Allocation(bits[choice], sizes, uniform, float(costs[np.arange(len(sizes)), choice].sum()))


def solve_knapsack(costs: np.ndarray, weights: np.ndarray, capacity: float) -> np.ndarray:
    """One of B choices for each of L items, `(L,)`: the smallest sum of costs `(L, B)` with weights up to `capacity`.

    Raises NumericalError if the solver finds none.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    items, choices = costs.shape
    scale = float(np.abs(costs).max()) or 1.0  # the solver's tolerances are absolute
    one_each = np.kron(np.eye(items), np.ones(choices))
    found = milp(
        costs.ravel() / scale,
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(weights.ravel()[None], -np.inf, capacity)],
        integrality=np.ones(costs.size),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    choice: np.ndarray | None = None if found.x is None else found.x.reshape(costs.shape).argmax(axis=1)
    if choice is None or weights[np.arange(items), choice].sum() > capacity:
        raise NumericalError(f"no bits were found: {found.message}", fix="another --budget")
    return choice


def measure_allocation(
    objective: Objective,
    vectors: ChangeVectors,
    allocation: Allocation,
    base: np.ndarray,
    groups: SampleGroups,
    saved: State,
) -> Generator[Progress, None, dict[str, Any]]:
    """Yields after each of two forward passes; returns the real changes with the chosen and with uniform bits."""
    chosen = [WeightChange(bits=int(bits)) for bits in allocation.bits]
    uniform = [WeightChange(bits=allocation.uniform)] * len(chosen)
    losses = list(saved["losses"]) if saved else []
    for changes in (chosen, uniform)[len(losses) :]:
        losses.append(losses_with(objective, vectors, changes, groups))
        yield Progress(len(losses), 2, f"{len(losses)} of 2 joint changes", partial(dict, losses=np.array(losses)))
    fields = {"allocation_change": losses[0] - base, "uniform_change": losses[1] - base}
    fields["allocation_gain"] = losses[1] - losses[0]
    return {name: value for pair in fields.items() for name, value in _mean(*pair, groups.counts).items()}


@np.errstate(invalid="ignore")  # infinity is a result, which `inconclusive` names
def _mean(name: str, differences: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """The mean of differences `(U,)`, and its standard error."""
    error = standard_errors(differences[:, None], counts)
    return {name: float(differences.sum() / counts.sum()), f"{name}_se": float(error[0])}


def allocation_costs(changes: Sequence[WeightChange], costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bit widths `(B,)` among the kinds of changes, and their columns of costs `(L, C)`: `(L, B)`."""
    places = [place for place, change in enumerate(changes) if change.bits]
    return np.array([changes[place].bits for place in places]), costs[:, places]
