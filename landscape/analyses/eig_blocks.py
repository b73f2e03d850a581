"""The eigenvalues of diagonal blocks: the phase of `eig` for layers, and the columns of its table."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.algorithms.lanczos import per_block
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.shared.per_layer import layer_table

if TYPE_CHECKING:
    from landscape.algorithms.lanczos.per_block import BlockSearchState
    from landscape.algorithms.lanczos.state import WantedPairs
    from landscape.network.space import ParameterGroup
    from landscape.operators import LinearOperator

PHASE = "layers"


def search_blocks(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    wanted: WantedPairs,
    *,
    steps: int,
    most: int,
    seed: int,
    resume: State,
) -> Generator[Progress, None, BlockSearchState]:
    """Yields after each pass until the wanted pairs of all blocks have converged, or `most` passes were made.

    As for the whole matrix, converged pairs are then locked. Another start looks for copies and for skipped values
    during `wanted.confirm` passes, in all blocks at once, until no block finds any.
    """
    blocks = operator.block_diagonal(groups)
    steps = int(resume["steps"]) if resume else steps  # whatever fits into memory now: the bits depend on it
    state = earlier = restore(per_block.BlockSearchState, resume, operator.like) if resume else None
    for state in per_block.block_lanczos_search(
        blocks, groups, wanted, steps=steps, most=most, seed=seed, resume=earlier
    ):
        yield Progress(
            int(state.converged.sum()),
            len(groups),
            f"{state.passes} passes for {len(groups)} blocks",
            lambda now=state: {**snapshot(now), "steps": np.asarray(steps)},  # type: ignore[misc]
        )
    assert state is not None  # `most` is at least 1
    return state


def block_columns(
    groups: Sequence[ParameterGroup], state: BlockSearchState, wanted: WantedPairs, product_error: float = 0.0
) -> dict[str, Any]:
    """The fields of the table of blocks in the result of `eig`, the largest leading eigenvalue first.

    `product_error` is that of products by differences: no value is known to less.
    """
    values, lanczos_residuals = per_block.current_pairs(state, groups, wanted)
    residuals = np.hypot(lanczos_residuals, np.maximum(state.floors, product_error)[:, None])
    known = (product_error <= wanted.tol * np.abs(values[:, 0])) | (product_error == 0)
    arrays = {
        "eigenvalue": values[:, 0],
        "residual": residuals[:, 0],
        "converged": state.converged & state.finished & known,
        "eigenvalues": values,
        "residuals": residuals,
    }
    return {**layer_table(groups, values[:, 0], arrays), "layer_products": state.passes}
