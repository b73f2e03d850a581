"""The diagonal blocks of groups of parameters: their phase of `eig`, and the columns of their tables."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State

if TYPE_CHECKING:
    import numpy as np

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
    """Yields after each pass until all blocks' wanted pairs have converged, or there were `most`.

    As for the whole matrix, the pairs found are then locked, and another start looks for `wanted.confirm` passes for
    copies and for what was skipped, in all blocks at once, until none finds anything.
    """
    import numpy as np

    from landscape.algorithms.lanczos import per_block as search
    from landscape.operators.block_diagonal import block_diagonal

    blocks = block_diagonal(operator, groups)
    usable = bool(resume) and int(resume["steps"]) == steps
    state = earlier = search.BlockSearchState.from_arrays(dict(resume), operator.like) if usable else None
    for state in search.block_lanczos_search(blocks, groups, wanted, steps=steps, most=most, seed=seed, resume=earlier):
        yield Progress(
            int(state.converged.sum()),
            len(groups),
            f"{state.passes} passes for {len(groups)} blocks",
            lambda now=state: {**now.arrays(), "steps": np.asarray(steps)},  # type: ignore[misc]
        )
    assert state is not None
    return state


def block_columns(groups: Sequence[ParameterGroup], state: BlockSearchState, wanted: WantedPairs) -> dict[str, Any]:
    """The columns of the table of `eig`, the largest leading eigenvalue first."""
    import numpy as np

    from landscape.algorithms.lanczos.per_block import current_pairs

    values, left = current_pairs(state, groups, wanted)
    residuals = np.hypot(left, state.floors[:, None])
    arrays = {
        "eigenvalue": values[:, 0],
        "residual": residuals[:, 0],
        "converged": state.converged & state.finished,
        "eigenvalues": values,
        "residuals": residuals,
    }
    return {**layer_table(groups, values[:, 0], arrays), "layer_products": state.passes}


def layer_table(
    groups: Sequence[ParameterGroup], size: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Names, numbers of parameters and other arrays of the groups, those of the largest |size| first."""
    import numpy as np

    order = np.argsort(-np.abs(size), kind="stable")
    named = {
        "layer": np.array([group.name for group in groups], dtype=str)[order],
        "layer_parameters": np.array([group.size for group in groups])[order],
    }
    return {**named, **{f"layer_{name}": values[order] for name, values in arrays.items()}}
