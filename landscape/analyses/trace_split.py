"""Splits the trace of the Hessian where that pays: a part is exact, random vectors estimate the rest.

tr H = tr G + tr(H - G). The Gauss-Newton matrix G has an exact trace in a few backward passes, and z'(H - G)z spreads
less than z'Hz where the net fits its data. Eight probes, multiplied by both matrices, tell by how much.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.trace.estimates import half_width_factor
from landscape.algorithms.estimators.trace.schedule import PROBES_PER_PASS
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod, TraceState, initial_state, trace_probe
from landscape.algorithms.lanczos.basis import require_finite
from landscape.analyses.base import Progress, State
from landscape.analyses.shared.products import fewest_gradients_of_product
from landscape.compute.inner_products import norm, row_dots
from landscape.errors import TaskError
from landscape.operators import GaussNewtonOperator
from landscape.operators.exact_trace import (
    exact_trace,
    find_exact_parameters,
    gradients_of_exact_trace,
    outputs_of_sample,
)
from landscape.operators.rest import RestOperator

if TYPE_CHECKING:
    from landscape.analyses.trace import Trace
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

SPLIT: TraceMethod = "ggn+hutchinson"
PILOT = PROBES_PER_PASS  # probes that are multiplied by both matrices
# Without a split, products to 1 %: 48 to 1,900 for 16 nets of 1,400 to 85,000 parameters, half of them below 200
EXPECTED_TRACE_PRODUCTS = 150


@dataclass(frozen=True)
class Beginning:
    """How the trace is estimated: the matrix of the products, the goal, the first state, and what is known beside."""

    operator: LinearOperator
    goal: TraceGoal
    state: TraceState
    known_blocks: np.ndarray  # (g,), the exact traces of the groups' blocks in the part that the matrix leaves out
    images: Tensor | None = None  # (P, 8), products with the first sketched probes
    gradients: float = 0.0  # the work so far beside the products
    gradients_each: float = 1.0  # the work of a product
    pilot: np.ndarray | None = None  # (8,), z'Hz of the probes that decided for a split


@dataclass(frozen=True)
class _Pilot:
    """By probe, z'Hz and z'(H - G)z, each of the whole and of the groups of parameters."""

    hessian: np.ndarray  # (8, 1 + g)
    rest: np.ndarray  # (8, 1 + g)
    images: Tensor | None = None  # (P, 8), H z where there is room for them

    def arrays(self, goal: TraceGoal) -> dict[str, np.ndarray]:
        """What a snapshot holds: the numbers, and what fitted into memory, as in that of the estimator."""
        shape = np.array([goal.capacity, 0])
        return {"hessian": self.hessian, "rest": self.rest, "basis.shape": shape, "width": np.array(goal.width)}

    def pairs(self, goal: TraceGoal) -> float:
        """Products of both matrices to the half-width asked for, of which eight were made."""
        return self._products_for(self.rest, goal)

    def products(self, goal: TraceGoal) -> float:
        """Products of the Hessian alone, without a sketch."""
        return self._products_for(self.hessian, goal)

    def _products_for(self, values: np.ndarray, goal: TraceGoal) -> float:
        width = goal.rtol * abs(float(self.hessian[:, 0].mean()))
        spread = half_width_factor(SPLIT, PILOT) * float(values[:, 0].std(ddof=1))
        return (spread / width) ** 2 if width else float("inf")


def begin_trace(
    analysis: Trace,
    objective: Objective,
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    goal: TraceGoal,
    saved: State,
) -> Generator[Progress, None, Beginning]:
    """Yields after the probes, and after the exact part; returns how the trace is estimated."""
    each = fewest_gradients_of_product(objective, analysis.operator)
    state = initial_state(operator.like, operator.size, len(groups), goal)
    plain = Beginning(operator, goal, state, np.zeros(len(groups)), gradients_each=each)
    names = find_exact_parameters(objective) if _may_split(analysis, objective, goal) else frozenset()
    if not names:
        return plain
    rest = RestOperator(operator, GaussNewtonOperator(objective), objective.space, names)
    if "hessian" in saved:
        pilot = _Pilot(saved["hessian"], saved["rest"])
    else:
        try:
            pilot = _multiply_probes(rest, groups, goal, analysis.seed)
        except TaskError:  # losses that G cannot be taken of: products of H alone say what is wrong, if anything is
            rest.release()
            return plain
        yield Progress(0, 100, f"{PILOT} products", lambda: pilot.arrays(goal))
    exact = gradients_of_exact_trace(outputs_of_sample(objective))
    each_pair = each + fewest_gradients_of_product(objective, "ggn")
    spent = PILOT * (each_pair - each)  # beside the products of the Hessian
    if _pays(pilot, goal, exact, each, each_pair, operator.size):
        row = saved.get("known")
        if row is None:
            row = _exact_row(objective)
            yield Progress(0, 100, f"{PILOT} products, and the exact part", lambda: pilot.arrays(goal) | {"known": row})
        spent += exact
        known = {n: float(value) for n, value in zip(objective.space.names, row, strict=True) if value == value}
        if known.keys() == names:
            split = replace(plain, operator=rest, gradients=exact, gradients_each=each_pair)
            return _split(split, pilot, known, groups)
    rest.release()
    return _unsplit(replace(plain, gradients=spent), pilot)


def may_split(analysis: Trace, objective: Objective) -> bool:
    """Whether the trace may be split: of the Hessian, by whatever estimator is best, from exact products."""
    by_products = objective.settings.hvp != "difference" and not objective.function.in_parts
    return analysis.method == "auto" and analysis.operator == "hessian" and by_products


def _may_split(analysis: Trace, objective: Objective, goal: TraceGoal) -> bool:
    """Whether the trace may be split, and the limit on products allows the probes."""
    return may_split(analysis, objective) and goal.max_products >= 2 * PILOT and objective.space.size > 4 * PILOT


def _multiply_probes(rest: RestOperator, groups: Sequence[ParameterGroup], goal: TraceGoal, seed: int) -> _Pilot:
    """The quadratic forms of the first probes, those of the sketch if there is one."""
    path, width = "sketched" if goal.capacity else "other", min(goal.width, PILOT)
    rows: dict[str, list[Tensor]] = {"hessian": [], "rest": []}
    images = []
    for first in range(0, PILOT, width):
        probes = [trace_probe(rest.size, rest.like, seed, path, first + index) for index in range(width)]
        block = torch.stack(probes, dim=1)
        image = rest.hessian.matmat(block)
        require_finite(norm(image))
        rows["hessian"].append(_quadratics(block, image, groups))
        if goal.capacity:
            images.append(image.T.clone(memory_format=torch.contiguous_format))
        rows["rest"].append(_quadratics(block, image.sub_(rest.product_of_part(block)), groups))
    hessian, of_rest = (torch.cat(parts).cpu().numpy() for parts in rows.values())
    return _Pilot(hessian, of_rest, torch.cat(images).T if images else None)


def _quadratics(block: Tensor, image: Tensor, groups: Sequence[ParameterGroup]) -> Tensor:
    """z'A z of each column, of the whole and of each group, `(K, 1 + g)`, float64."""
    whole = row_dots(block.T, image.T)
    of_groups = [sum(map(row_dots, group.of(block.T), group.of(image.T))) for group in groups]
    return torch.stack([whole, *of_groups], dim=1)  # type: ignore[list-item]


def _pays(pilot: _Pilot, goal: TraceGoal, exact: float, each: float, each_pair: float, size: int) -> bool:
    """Whether the exact part and the pairs that are left take less time than products of the Hessian alone."""
    pairs = max(pilot.pairs(goal), goal.min_others, PILOT) - PILOT
    split = exact + pairs * each_pair
    expected = min(EXPECTED_TRACE_PRODUCTS * (0.01 / goal.rtol) ** 0.5, size)
    alone = (expected if goal.capacity else pilot.products(goal)) - PILOT
    fits = pairs + PILOT <= goal.max_products
    return bool(fits and split < each * alone)


def _exact_row(objective: Objective) -> np.ndarray:
    """The exact trace by parameter, NaN where it is not known."""
    exact = exact_trace(objective)
    known: Mapping[str, float] = {} if exact is None else exact.by_name
    return np.array([known.get(name, np.nan) for name in objective.space.names])


def _split(
    beginning: Beginning, pilot: _Pilot, known: Mapping[str, float], groups: Sequence[ParameterGroup]
) -> Beginning:
    """The beginning whose first values are the pilot's, of a matrix without the part that is known."""
    goal = replace(beginning.goal, method=SPLIT)
    state = initial_state(beginning.operator.like, beginning.operator.size, len(groups), goal)
    state = replace(
        state,
        values=pilot.rest[:, 0],
        block_values=pilot.rest[:, 1:],
        products=PILOT,
        is_rest=True,
        known=sum(known.values()),
    )
    blocks = np.array([sum(known.get(name, 0.0) for name in group.names) for group in groups])
    return replace(beginning, goal=goal, state=state, known_blocks=blocks, pilot=pilot.hessian[:, 0])


def _unsplit(beginning: Beginning, pilot: _Pilot) -> Beginning:
    """The beginning that takes up the pilot's products of the Hessian: as images to sketch, or as values."""
    if beginning.goal.capacity:
        return replace(beginning, images=pilot.images)
    values, blocks = pilot.hessian[:, 0], pilot.hessian[:, 1:]
    return replace(beginning, state=replace(beginning.state, values=values, block_values=blocks, products=PILOT))
