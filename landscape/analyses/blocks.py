"""The leading eigenvalues of every group's diagonal block, one Lanczos run each, all in the same passes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State
from landscape.analyses.curvature import prefixed, unprefixed

if TYPE_CHECKING:
    import numpy as np

    from landscape.algorithms.lockstep import LockstepState, Rule
    from landscape.algorithms.state import Wanted
    from landscape.operators import LinearOperator
    from landscape.space import Group

PHASE = "layers"


@dataclass(frozen=True)
class Leading:
    """The wanted values of each of g blocks `(g, k)`, NaN beyond its size, and the passes that they took."""

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray  # (g,)
    passes: int


def leading(
    operator: LinearOperator,
    groups: Sequence[Group],
    wanted: Wanted,
    *,
    steps: int,
    seed: int,
    resume: State | None,
    done: Callable[[], State],
) -> Generator[Progress, None, Leading]:
    """Yields after each pass until all blocks' wanted pairs have converged, or have had `steps` products.

    `done` gives what the snapshots of earlier phases hold.
    """
    from landscape.algorithms.lockstep import LockstepState, lockstep
    from landscape.operators.blocks import block_diagonal

    saved = unprefixed(PHASE, resume or {})
    state = earlier = LockstepState.from_arrays(saved, operator.like) if saved else None
    most = min(steps, max(group.size for group in groups))
    known = _known(earlier, groups, wanted) if earlier else None
    if known is None or not known.converged.all():
        running = lockstep(
            block_diagonal(operator, groups), groups, probes=1, steps=most, together=1, seed=seed, resume=earlier
        )
        for state in running:
            known = _known(state, groups, wanted)
            yield Progress(
                int(known.converged.sum()),
                len(groups),
                f"{state.products} passes for {len(groups)} blocks",
                lambda now=state: {**done(), **prefixed(PHASE, now.arrays())},  # type: ignore[misc]
            )
            if known.converged.all():
                break
    assert known is not None
    return known


def columns(groups: Sequence[Group], known: Leading) -> dict[str, Any]:
    """The columns of the layers' table, the largest leading eigenvalue first."""
    import numpy as np

    order = np.argsort(-np.abs(known.values[:, 0]), kind="stable")
    return {
        "layer": np.array([groups[place].name for place in order], dtype=str),
        "layer_parameters": np.array([groups[place].size for place in order]),
        "layer_eigenvalue": known.values[order, 0],
        "layer_residual": known.residuals[order, 0],
        "layer_converged": known.converged[order],
        "layer_eigenvalues": known.values[order],
        "layer_residuals": known.residuals[order],
        "layer_products": known.passes,
    }


def _known(state: LockstepState, groups: Sequence[Group], wanted: Wanted) -> Leading:
    import numpy as np
    import torch

    from landscape.algorithms.lockstep import rules
    from landscape.algorithms.state import NOISE

    floors = NOISE * torch.finfo(state.basis.dtype).eps * state.scale[0]
    values, residuals = np.full((2, len(groups), wanted.count), np.nan)
    converged = np.zeros(len(groups), bool)
    for place, (rule, floor) in enumerate(zip(rules(state, groups), floors, strict=True)):
        found, left = _wanted(rule, wanted)
        small = left <= np.maximum(wanted.tol * np.abs(found), floor)
        values[place, : len(found)] = found
        residuals[place, : len(found)] = np.hypot(left, floor)
        ended = bool((rule.residuals[0][np.isfinite(rule.residuals[0])] == 0).all())
        converged[place] = bool(small.all()) and (len(found) == min(wanted.count, rule.size) or ended)
    return Leading(values, residuals, converged, state.products)


def _wanted(rule: Rule, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    from landscape.algorithms.selection import select

    finite = np.isfinite(rule.nodes[0])
    nodes, residuals = rule.nodes[0][finite], rule.residuals[0][finite]
    chosen = select(nodes, wanted.count, wanted.which)
    return nodes[chosen], residuals[chosen]
