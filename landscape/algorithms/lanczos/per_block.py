"""The wanted eigenpairs of every diagonal block, by one Lanczos run for each block, all in the same passes.

The pairs that a run has found are locked. Another start, orthogonal to them, then looks for copies of repeated
eigenvalues and for skipped ones, until a start finds nothing better in any block.
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
    """The search in g blocks, with k wanted pairs in each, after some passes."""

    locked: Tensor = field(metadata=TENSOR)  # (k, P), unit vectors on each group, or zeros
    values: np.ndarray  # (g, k), NaN where nothing is locked
    residuals: np.ndarray  # (g, k)
    start: int  # starts before this one
    earlier: int  # passes of the earlier starts
    run: BatchedLanczosState | None = field(metadata=nested(BatchedLanczosState))  # this start's runs
    converged: np.ndarray  # (g,)
    floors: np.ndarray  # (g,), the residual below which everything is rounding
    finished: bool

    @property
    def passes(self) -> int:
        """Passes over the data so far."""
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
    """States after each pass, until a start finds nothing better in any block, or after `most` passes.

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
            blocks = _all_candidates(state, groups, wanted)
            state = _update_convergence(state, blocks)
            if run.finished or _complete(state, blocks, wanted):
                state = _next_start(state, groups, blocks, wanted)
            yield state
            if state.run is None or state.finished or state.passes >= most:
                break


def current_pairs(
    state: BlockSearchState, groups: Sequence[ParameterGroup], wanted: WantedPairs
) -> tuple[np.ndarray, np.ndarray]:
    """Values and residuals `(g, k)` of the best pairs, the present start's included; NaN where there are none."""
    if state.run is None or state.finished:
        return state.values, state.residuals
    values, residuals = np.full((2, *state.values.shape), np.nan)
    for index, block in enumerate(_all_candidates(state, groups, wanted)):
        values[index, : len(block.values)] = block.values
        residuals[index, : len(block.values)] = block.residuals
    return values, residuals


def _begin(operator: LinearOperator, groups: Sequence[ParameterGroup], wanted: WantedPairs) -> BlockSearchState:
    nothing = np.full((len(groups), wanted.count), np.nan)
    rows = torch.zeros((wanted.count, operator.size), dtype=operator.like.dtype, device=operator.like.device)
    return BlockSearchState(
        rows, nothing, nothing.copy(), 0, 0, None, np.zeros(len(groups), bool), np.zeros(len(groups)), False
    )


@dataclass(frozen=True)
class BlockCandidates:
    """One block's candidates, best first."""

    values: np.ndarray
    residuals: np.ndarray
    own: np.ndarray  # whether they come from the present start
    places: np.ndarray  # their index among the locked pairs, or among the present start's nodes
    small: np.ndarray  # whether the residual is at most tol |value|, or rounding
    full: bool  # whether there are as many as wanted, or as the block has dimensions
    ended: bool  # whether the present start's run reached an invariant subspace


def _all_candidates(
    state: BlockSearchState, groups: Sequence[ParameterGroup], wanted: WantedPairs
) -> list[BlockCandidates]:
    assert state.run is not None
    return [
        _block_candidates(state, index, rule, wanted) for index, rule in enumerate(quadrature_rules(state.run, groups))
    ]


def _block_candidates(
    state: BlockSearchState, index: int, rule: QuadratureRule, wanted: WantedPairs
) -> BlockCandidates:
    """The best of locked and present pairs; after the first start a new value must win by more than the tolerance."""
    assert state.run is not None
    reached = np.isfinite(rule.nodes[0])
    nodes, left = rule.nodes[0][reached], rule.residuals[0][reached]
    locked = np.flatnonzero(np.isfinite(state.values[index]))
    values = np.concatenate([state.values[index][locked], nodes])
    residuals = np.concatenate([state.residuals[index][locked], left])
    own = np.arange(len(values)) >= len(locked)
    least = rounding_floor(state.run.basis.dtype, state.run.scale[0, index])
    margin = np.maximum(wanted.tol * np.abs(values), least)
    chosen = select_eigenvalues(values, wanted.count, wanted.which, np.where(own & (len(locked) > 0), margin, 0.0))
    places = np.concatenate([locked, np.arange(len(nodes))])
    ended = bool((left == 0).all()) or rule.size <= len(locked)
    small = (residuals <= margin) | ~own  # locked pairs had converged
    full = len(chosen) == min(wanted.count, rule.size)
    return BlockCandidates(values[chosen], residuals[chosen], own[chosen], places[chosen], small[chosen], full, ended)


def _update_convergence(state: BlockSearchState, blocks: Sequence[BlockCandidates]) -> BlockSearchState:
    assert state.run is not None
    converged = np.array([block.full and bool(block.small.all()) for block in blocks])
    least = rounding_floor(state.locked.dtype, state.run.scale[0])
    return replace(state, converged=converged, floors=np.maximum(state.floors, least))


def _complete(state: BlockSearchState, blocks: Sequence[BlockCandidates], wanted: WantedPairs) -> bool:
    """Whether this start is done: its candidates have converged, after at least the wanted length of a search."""
    assert state.run is not None
    steps = int(np.isfinite(state.run.alpha[0]).sum(axis=1).max(initial=0))
    searched = not state.start or steps >= wanted.confirm
    return all(block.small.all() and (block.ended or (block.full and searched)) for block in blocks)


def _next_start(
    state: BlockSearchState, groups: Sequence[ParameterGroup], blocks: Sequence[BlockCandidates], wanted: WantedPairs
) -> BlockSearchState:
    """Locks the converged pairs; another start follows if this one found a pair, unless none is wanted."""
    values, residuals = np.full((2, *state.values.shape), np.nan)
    rows = torch.zeros_like(state.locked)
    found, unfinished = False, not state.converged.all()
    for index, (group, block) in enumerate(zip(groups, blocks, strict=True)):
        kept = np.flatnonzero(block.small)
        found |= bool(block.own[kept].any())
        # the part of a pair of this start along the locked pairs is at most the residuals of those
        leak = np.where(block.own, np.linalg.norm(np.nan_to_num(state.residuals[index])), 0.0)
        values[index, : len(kept)] = block.values[kept]
        residuals[index, : len(kept)] = np.hypot(block.residuals, leak)[kept]
        _rotate(state, index, group, block, kept, rows)
    if not found or not (state.start or wanted.confirm or unfinished):
        return replace(state, values=values, residuals=residuals, locked=rows, finished=True)
    return replace(
        state, values=values, residuals=residuals, locked=rows, start=state.start + 1, earlier=state.passes, run=None
    )


def _rotate(
    state: BlockSearchState,
    index: int,
    group: ParameterGroup,
    block: BlockCandidates,
    kept: np.ndarray,
    rows: Tensor,
) -> None:
    """Writes one group's kept vectors into `rows`: locked ones are copied, new ones are Ritz vectors of this start."""
    assert state.run is not None
    _, vectors = eigh(tridiagonal(state.run.alpha[0, index], state.run.beta[0, index]))
    basis = state.run.basis[0, : len(vectors)]
    for row, candidate in enumerate(kept):
        place = int(block.places[candidate])
        for target, locked, own in zip(group.of(rows), group.of(state.locked), group.of(basis), strict=True):
            target[row] = (
                torch.from_numpy(vectors[:, place].copy()).to(own) @ own if block.own[candidate] else locked[place]
            )
