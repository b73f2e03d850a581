"""The phase of `eig` that measures every group's diagonal block, and the columns of its table."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State
from landscape.analyses.curvature import prefixed, unprefixed

if TYPE_CHECKING:
    from landscape.algorithms.leading import LeadingState
    from landscape.algorithms.state import Wanted
    from landscape.operators import LinearOperator
    from landscape.space import Group

PHASE = "layers"


def leading(
    operator: LinearOperator,
    groups: Sequence[Group],
    wanted: Wanted,
    *,
    steps: int,
    most: int,
    seed: int,
    resume: State | None,
    done: Callable[[], State],
) -> Generator[Progress, None, LeadingState]:
    """Yields after each pass until all blocks' wanted pairs have converged, or there were `most`.

    As for the whole matrix, the pairs found are then locked, and another start looks for `wanted.confirm` passes for
    copies and for what was skipped, in all blocks at once, until none finds anything. `done` gives what the snapshots
    of earlier phases hold.
    """
    import numpy as np

    from landscape.algorithms import leading as search
    from landscape.operators.blocks import block_diagonal

    blocks = block_diagonal(operator, groups)
    saved = unprefixed(PHASE, resume or {})
    usable = bool(saved) and int(saved["steps"]) == steps
    state = earlier = search.LeadingState.from_arrays(saved, operator.like) if usable else None
    for state in search.leading(blocks, groups, wanted, steps=steps, most=most, seed=seed, resume=earlier):
        yield Progress(
            int(state.converged.sum()),
            len(groups),
            f"{state.passes} passes for {len(groups)} blocks",
            lambda now=state: {**done(), **prefixed(PHASE, {**now.arrays(), "steps": np.asarray(steps)})},  # type: ignore[misc]
        )
    assert state is not None
    return state


def columns(groups: Sequence[Group], state: LeadingState, wanted: Wanted) -> dict[str, Any]:
    """The columns of the layers' table, the largest leading eigenvalue first."""
    import numpy as np

    from landscape.algorithms.leading import known

    values, left = known(state, groups, wanted)
    residuals = np.hypot(left, state.floors[:, None])
    order = np.argsort(-np.abs(values[:, 0]), kind="stable")
    return {
        "layer": np.array([groups[place].name for place in order], dtype=str),
        "layer_parameters": np.array([groups[place].size for place in order]),
        "layer_eigenvalue": values[order, 0],
        "layer_residual": residuals[order, 0],
        "layer_converged": state.converged[order] & state.finished,
        "layer_eigenvalues": values[order],
        "layer_residuals": residuals[order],
        "layer_products": state.passes,
    }
