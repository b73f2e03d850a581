"""Chooses how the diagonal of the Hessian is estimated: as a whole, or its part beside the Gauss-Newton matrix.

diag H = diag G + diag(H - G). The Gauss-Newton matrix G has an exact diagonal in a few backward passes where a sample
has few outputs. A few probes tell by how much fewer products H - G needs than H; and whether its diagonal blocks of
layers, of which a probe takes a product for each layer, need fewer still: where the outputs are piecewise linear in
every layer by itself, as in a net of ReLUs, they are zero.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.diagonal.run import DiagonalProblem, add_diagonal_probes, forecast_products
from landscape.algorithms.estimators.diagonal.state import (
    MIN_PROBES,
    PROBES_PER_PASS,
    DiagonalGoal,
    DiagonalState,
    initial_diagonal_state,
    sign_probe,
)
from landscape.algorithms.lanczos.basis import require_finite
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.diagonal_samples import exact_diagonal
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.analyses.shared.products import fewest_gradients_of_product
from landscape.compute.budget import is_large
from landscape.compute.inner_products import norm
from landscape.errors import TaskError
from landscape.operators import GaussNewtonOperator
from landscape.operators.output_vectors import choose_vectors
from landscape.operators.rest import RestOperator
from landscape.operators.sample_diagonal import gradients_of_pass

if TYPE_CHECKING:
    from landscape.analyses.diagonal import Diagonal
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

PILOT = PROBES_PER_PASS  # probes that are multiplied by both matrices
BLOCK_PILOT = 2  # probes of the diagonal blocks: each has a value for every entry
PILOT_SHARE = 1 / 2  # of the cheapest work otherwise, and of the limit on products, which these two may take
NAMES = ("hessian", "rest")  # of the two matrices
ROUNDING = 1e-6  # of the probes for the error asked for: blocks that spread so little are zero but for rounding


@dataclass(frozen=True)
class DiagonalBeginning:
    """How the rest of the diagonal is estimated: the matrix of the products, the goal, and what is known beside."""

    operator: LinearOperator
    goal: DiagonalGoal
    state: DiagonalState | None = None  # the first, where probes were multiplied
    images: Tensor | None = None  # (P, 8), products with the first sketched probes
    products: int = 0  # beside those that the estimator counts
    columns: int = 1  # products with the matrix for each of the estimator's
    gradients: float = 0.0  # the work beside these
    gradients_each: float = 1.0  # the work of one of the estimator's products

    @property
    def known(self) -> np.ndarray | None:
        """The exact part of the diagonal `(P,)`."""
        return self.goal.known


@dataclass(frozen=True)
class _Pilot:
    """What the first probes tell: the sums over entries of the variances of a probe's value, with H and with H - G.

    `blocks` is the state after two probes of the diagonal blocks of H - G, None where they were not worth it. `beside`
    are the products that looked whether they may be.
    """

    spreads: np.ndarray  # (2,)
    beside: int
    blocks: DiagonalState | None
    images: dict[str, Tensor]  # products with H and H - G, (P, 8), where they are sketched

    def arrays(self) -> dict[str, np.ndarray]:
        """What a snapshot holds."""
        blocks = {} if self.blocks is None else prefix_state("blocks", snapshot(self.blocks))
        return {"spreads": self.spreads, "beside": np.array(self.beside), **blocks}


@dataclass(frozen=True)
class _Choice:
    """The two ways, and the groups whose sums get an error: those of the table, with the whole."""

    analysis: Diagonal
    layers: Sequence[ParameterGroup]
    groups: Sequence[ParameterGroup]
    plain: DiagonalBeginning
    split: DiagonalBeginning

    @property
    def wanted(self) -> float:
        """The sum of variances that is asked for, as far as the exact part tells the norm of the diagonal."""
        known = self.split.known
        return 0.0 if known is None else self.analysis.rtol**2 * float((known**2).sum())

    @property
    def gradients_of_blocks(self) -> float:
        """The work of one probe of all blocks."""
        return self.split.gradients_each * len(self.layers)

    def probes(self, spread: float) -> float:
        """Probes that reach the error asked for, if the values of one spread so much."""
        return spread / self.wanted if self.wanted else float("inf")

    def costs(self, spreads: np.ndarray) -> tuple[float, float]:
        """The gradients that H alone takes, by at most as many products as entries, and those that H - G takes."""
        goal, size = self.split.goal, self.split.operator.size
        alone, pairs = (forecast_products(self.probes(float(spread)), goal.capacity) for spread in spreads)
        if size <= goal.max_products:
            alone = min(alone, size)
        return self.plain.gradients_each * alone, self.split.gradients_each * pairs

    def multiply(self) -> _Pilot:
        """Multiplies the first probes by both matrices, and two by the blocks if these may be much cheaper."""
        rest, goal = self.split.operator, self.split.goal
        assert isinstance(rest, RestOperator)
        signs = [sign_probe(rest.size, rest.like, self.analysis.seed, "sketched", index) for index in range(PILOT)]
        probes, pieces = torch.stack(signs, dim=1), []
        for columns in torch.split(probes, min(goal.width, PILOT), dim=1):
            image = rest.hessian.matmat(columns)
            require_finite(norm(image))
            pieces.append((image.clone(), image - rest.product_of_part(columns)))
        images = {name: torch.cat(each, dim=1) for name, each in zip(NAMES, zip(*pieces, strict=True), strict=True)}
        spreads = np.array([float((probes * image).double().var(dim=1).sum()) for image in images.values()])
        cheapest, products = min(self.costs(spreads)), BLOCK_PILOT * len(self.layers)
        worth = BLOCK_PILOT * self.gradients_of_blocks < PILOT_SHARE * cheapest
        tried = worth and products < PILOT_SHARE * self.analysis.max_products
        blocks = self._multiply_blocks(self.layers) if tried and self._is_zero(self.layers[:1]) else None
        return _Pilot(spreads, BLOCK_PILOT * tried, blocks, images if goal.capacity else {})

    def _multiply_blocks(self, layers: Sequence[ParameterGroup]) -> DiagonalState:
        """The state after two probes of the diagonal blocks of H - G on these layers."""
        goal = replace(self.split.goal, capacity=0, width=BLOCK_PILOT, max_products=BLOCK_PILOT)
        operator = self.split.operator
        problem = DiagonalProblem(operator.block_diagonal(layers), self.groups, self.analysis.seed)
        first = initial_diagonal_state(operator.like, operator.size, len(self.groups), goal)
        return add_diagonal_probes(problem, first, goal)

    def _is_zero(self, layers: Sequence[ParameterGroup]) -> bool:
        """Whether the blocks of these layers spread by rounding alone; those of the first layer tell of all others."""
        return self._probes_of(self._multiply_blocks(layers)) < ROUNDING

    def _probes_of(self, blocks: DiagonalState) -> float:
        """Probes that reach the error asked for, by those that were multiplied."""
        return self.probes(float(blocks.scatter.sum()) / (blocks.probes - 1))

    def decide(self, pilot: _Pilot) -> DiagonalBeginning:
        """The cheapest of the ways, with the work of the probes that is not the estimator's own."""
        alone, pairs = self.costs(pilot.spreads)
        each_pair = self.split.gradients_each
        if pilot.blocks is not None:
            needed = self._probes_of(pilot.blocks)
            enough = BLOCK_PILOT if needed < ROUNDING else MIN_PROBES
            if self.gradients_of_blocks * max(needed, enough) < min(alone, pairs):
                return self._blocks(pilot, pilot.blocks, enough)
        spent = self.plain.gradients + (0 if pilot.blocks is None else BLOCK_PILOT * self.gradients_of_blocks)
        spent += pilot.beside * each_pair
        beside = pilot.beside + (0 if pilot.blocks is None else BLOCK_PILOT * len(self.layers))
        chosen, name = (self.split, "rest") if pairs < alone else (self.plain, "hessian")
        if chosen.goal.capacity:  # the probes are sketched, and counted, by the estimator
            spent += PILOT * (each_pair - chosen.gradients_each)
        else:
            spent, beside = spent + PILOT * each_pair, beside + PILOT
        goal = replace(chosen.goal, max_products=max(chosen.goal.max_products - beside, 1))
        images = pilot.images.get(name)
        return replace(chosen, goal=goal, images=images, products=beside, gradients=spent)

    def _blocks(self, pilot: _Pilot, state: DiagonalState, probes: int) -> DiagonalBeginning:
        """The beginning whose products are those of the diagonal blocks of H - G."""
        columns, split, products = len(self.layers), self.split, PILOT + pilot.beside
        left = (self.analysis.max_products - products) // columns
        return replace(
            split,
            operator=split.operator.block_diagonal(self.layers),
            goal=replace(split.goal, capacity=0, max_products=left, min_probes=probes),
            state=state,
            products=products,
            columns=columns,
            gradients=split.gradients + products * split.gradients_each,
            gradients_each=self.gradients_of_blocks,
        )


def begin_diagonal(
    analysis: Diagonal,
    objective: Objective,
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    goal: DiagonalGoal,
    saved: State,
) -> Generator[Progress, None, DiagonalBeginning]:
    """Yields after the exact part, and after the probes; returns how the diagonal is estimated."""
    each = fewest_gradients_of_product(objective, analysis.operator)
    plain = DiagonalBeginning(operator, goal, gradients_each=each)
    exact = _exact_part(analysis, objective, goal, saved)
    if exact is None:
        return plain
    if "known" not in saved:
        yield Progress(0, 100, "the exact part", exact.copy)
    plain, known = replace(plain, gradients=float(exact["gradients"])), exact["known"]
    if np.isnan(known).any():
        return plain
    rest = RestOperator(operator, GaussNewtonOperator(objective), objective.space, objective.space.names)
    split = replace(plain, operator=rest, goal=replace(goal, known=known))
    split = replace(split, gradients_each=each + fewest_gradients_of_product(objective, "ggn"))
    if is_large(operator.size):
        return split
    choice = _Choice(analysis, objective.space.layers(), groups, plain, split)
    if "spreads" in saved:
        blocks = phase_state("blocks", saved)
        pilot = _Pilot(
            saved["spreads"],
            int(saved["beside"]),
            restore(DiagonalState, blocks, operator.like) if blocks else None,
            {},
        )
    else:
        try:
            pilot = choice.multiply()
        except TaskError:  # losses that G cannot be taken of
            return plain
        both = exact | pilot.arrays()
        yield Progress(0, 100, f"{PILOT} products", both.copy)
    beginning = choice.decide(pilot)
    if beginning.operator is operator:
        rest.release()
    return beginning


def _exact_part(
    analysis: Diagonal, objective: Objective, goal: DiagonalGoal, saved: State
) -> dict[str, np.ndarray] | None:
    """The diagonal of the Gauss-Newton matrix, NaN where it cannot be had, and its work; None where it may not pay."""
    if analysis.operator != "hessian" or goal.max_products < 2 * PILOT or objective.space.size <= 4 * PILOT:
        return None
    if "known" in saved:
        return {name: saved[name] for name in ("known", "gradients")}
    vectors = choose_vectors(objective, "ggn")
    if vectors is None or not vectors.exact:
        return None
    found = exact_diagonal(objective, vectors)
    all_known = found is not None and not found.unknown
    work = np.array(gradients_of_pass(vectors.per_pass, all_known=all_known))
    known = np.full(objective.space.size, np.nan) if found is None else found.diagonal
    return {"known": known, "gradients": work}
