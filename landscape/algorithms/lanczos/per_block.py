"""The wanted eigenpairs of every diagonal block, one Lanczos run for each at a time, all blocks in the same passes.

What a run has found is locked, and another start, orthogonal to it, looks for copies of repeated eigenvalues and for
what was skipped, until a start finds nothing better in any block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rounding_floor
from landscape.algorithms.lanczos.batched import (
    BatchedLanczosState,
    QuadratureRule,
    batched_lanczos,
    quadrature_rules,
    tridiagonal,
)
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.algorithms.snapshots import TENSOR, nested
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator
from landscape.seeds import derive


@dataclass(frozen=True)
class BlockSearchState:
    """What is known of g blocks after some passes: k wanted of each."""

    locked: Tensor = field(metadata=TENSOR)  # (k, P), unit vectors on each group, or zeros
    values: np.ndarray  # (g, k), NaN where nothing is locked
    residuals: np.ndarray  # (g, k)
    start: int  # how many starts there were before this one
    earlier: int  # passes of those
    run: BatchedLanczosState | None = field(metadata=nested(BatchedLanczosState))  # this start's runs
    converged: np.ndarray  # (g,)
    floors: np.ndarray  # (g,), what rounding leaves of a residual
    finished: bool

    @property
    def passes(self) -> int:
        return self.earlier + (self.run.products if self.run else 0)


def block_lanczos_search(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    wanted: WantedPairs,
    *,
    steps: int,
    most: int,
    seed: int,
    resume: BlockSearchState | None = None,
) -> Iterator[BlockSearchState]:
    """States after each pass, until no start finds anything better in any block, or there were `most` passes.

    A start has at most `steps` passes. `operator` is block-diagonal.
    """
    state = resume or _begin(operator, groups, wanted)
    while not state.finished and state.passes < most:
        locked = state.locked if state.start else None
        own = derive(seed, "start", state.start)
        for run in batched_lanczos(
            operator, groups, probes=1, steps=steps, probes_per_pass=1, seed=own, locked=locked, resume=state.run
        ):
            state = replace(state, run=run)
            standings = _standings(state, groups, wanted)
            state = _judged(state, standings)
            if run.finished or _complete(state, standings, wanted):
                state = _next_start(state, groups, standings, wanted)
            yield state
            if state.run is None or state.finished or state.passes >= most:
                break


def current_pairs(
    state: BlockSearchState, groups: Sequence[ParameterGroup], wanted: WantedPairs
) -> tuple[np.ndarray, np.ndarray]:
    """Values and residuals `(g, k)`, with the present start's candidates among them; NaN where there are none."""
    if state.run is None or state.finished:
        return state.values, state.residuals
    values, residuals = np.full((2, *state.values.shape), np.nan)
    for index, standing in enumerate(_standings(state, groups, wanted)):
        values[index, : len(standing.values)] = standing.values
        residuals[index, : len(standing.values)] = standing.residuals
    return values, residuals


def _begin(operator: LinearOperator, groups: Sequence[ParameterGroup], wanted: WantedPairs) -> BlockSearchState:
    nothing = np.full((len(groups), wanted.count), np.nan)
    rows = torch.zeros((wanted.count, operator.size), dtype=operator.like.dtype, device=operator.like.device)
    return BlockSearchState(
        rows, nothing, nothing.copy(), 0, 0, None, np.zeros(len(groups), bool), np.zeros(len(groups)), False
    )


@dataclass(frozen=True)
class BlockCandidates:
    """One block's candidates, best first: values, residuals, and whether they are of the present start."""

    values: np.ndarray
    residuals: np.ndarray
    own: np.ndarray
    places: np.ndarray  # among the locked, or among the present start's nodes
    small: np.ndarray  # whether the residual is at most tol |value|, or rounding
    full: bool  # whether there are as many as wanted, or as the block has
    ended: bool  # whether the present start's run has come to its end


def _standings(state: BlockSearchState, groups: Sequence[ParameterGroup], wanted: WantedPairs) -> list[BlockCandidates]:
    assert state.run is not None
    return [_standing(state, index, rule, wanted) for index, rule in enumerate(quadrature_rules(state.run, groups))]


def _standing(state: BlockSearchState, index: int, rule: QuadratureRule, wanted: WantedPairs) -> BlockCandidates:
    """The best of locked and present values; after the first start a newcomer must win by more than the tolerance."""
    assert state.run is not None
    known = np.isfinite(rule.nodes[0])
    nodes, left = rule.nodes[0][known], rule.residuals[0][known]
    held = np.flatnonzero(np.isfinite(state.values[index]))
    values = np.concatenate([state.values[index][held], nodes])
    residuals = np.concatenate([state.residuals[index][held], left])
    own = np.arange(len(values)) >= len(held)
    least = rounding_floor(state.run.basis.dtype, state.run.scale[0, index])
    margin = np.maximum(wanted.tol * np.abs(values), least)
    chosen = select_eigenvalues(values, wanted.count, wanted.which, np.where(own & (len(held) > 0), margin, 0.0))
    places = np.concatenate([held, np.arange(len(nodes))])
    ended = bool((left == 0).all()) or rule.size <= len(held)
    small = (residuals <= margin) | ~own  # what is locked had converged
    full = len(chosen) == min(wanted.count, rule.size)
    return BlockCandidates(values[chosen], residuals[chosen], own[chosen], places[chosen], small[chosen], full, ended)


def _judged(state: BlockSearchState, standings: Sequence[BlockCandidates]) -> BlockSearchState:
    assert state.run is not None
    converged = np.array([standing.full and bool(standing.small.all()) for standing in standings])
    least = rounding_floor(state.locked.dtype, state.run.scale[0])
    return replace(state, converged=converged, floors=np.maximum(state.floors, least))


def _complete(state: BlockSearchState, standings: Sequence[BlockCandidates], wanted: WantedPairs) -> bool:
    """Whether this start has nothing left to do: its candidates have converged, after the search's length."""
    assert state.run is not None
    steps = int(np.isfinite(state.run.alpha[0]).sum(axis=1).max(initial=0))
    searched = not state.start or steps >= wanted.confirm
    return all(one.small.all() and (one.ended or (one.full and searched)) for one in standings)


def _next_start(
    state: BlockSearchState, groups: Sequence[ParameterGroup], standings: Sequence[BlockCandidates], wanted: WantedPairs
) -> BlockSearchState:
    """Locks what has converged; another start follows if this one found something, unless none was asked for."""
    values, residuals = np.full((2, *state.values.shape), np.nan)
    rows = torch.zeros_like(state.locked)
    found, lacking = False, not state.converged.all()
    for index, (group, standing) in enumerate(zip(groups, standings, strict=True)):
        kept = np.flatnonzero(standing.small)
        found |= bool(standing.own[kept].any())
        # what leaks from a pair of this start into the locked ones is at most their residuals
        leak = np.where(standing.own, np.linalg.norm(np.nan_to_num(state.residuals[index])), 0.0)
        values[index, : len(kept)] = standing.values[kept]
        residuals[index, : len(kept)] = np.hypot(standing.residuals, leak)[kept]
        _rotate(state, index, group, standing, kept, rows)
    if not found or not (state.start or wanted.confirm or lacking):
        return replace(state, values=values, residuals=residuals, locked=rows, finished=True)
    return replace(
        state, values=values, residuals=residuals, locked=rows, start=state.start + 1, earlier=state.passes, run=None
    )


def _rotate(
    state: BlockSearchState,
    index: int,
    group: ParameterGroup,
    standing: BlockCandidates,
    kept: np.ndarray,
    rows: Tensor,
) -> None:
    """Writes the kept vectors of one group: locked ones as they are, new ones from the basis."""
    assert state.run is not None
    _, vectors = eigh(tridiagonal(state.run.alpha[0, index], state.run.beta[0, index]))
    basis = state.run.basis[0, : len(vectors)]
    for row, candidate in enumerate(kept):
        place = int(standing.places[candidate])
        for there, held, own in zip(group.of(rows), group.of(state.locked), group.of(basis), strict=True):
            there[row] = (
                torch.from_numpy(vectors[:, place].copy()).to(own) @ own if standing.own[candidate] else held[place]
            )
