"""The preconditioner of conjugate gradients: a sketch of the matrix, Kronecker factors, or none."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from landscape.algorithms.linear_systems.nystrom import (
    SKETCH_VECTORS,
    NystromSketch,
    initial_sketch,
    precondition_by,
    sketch_matrix,
)
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.compute.budget import vector_room

if TYPE_CHECKING:
    from landscape.analyses.influence.damping import Damping
    from landscape.analyses.influence.influence import Influence
    from landscape.analyses.influence.solving import Matrix
    from landscape.objective import Objective
    from landscape.operators import LinearOperator


SKETCH_SHARE = 8  # parameters for each vector of a sketch at least: with more vectors, products are saved no longer


def sketch_rank(analysis: Influence, objective: Objective, saved: State | None = None) -> int:
    """The vectors of the sketch: those of the run that is resumed, or as many as are asked for and fit; 0 for none."""
    if analysis.precondition != "nystrom":
        return 0
    if saved:
        return int(saved["images.shape"][0])
    room = vector_room(objective.device, objective.theta.nbytes, objective.graph_bytes)
    fitting = room // (SKETCH_VECTORS * objective.theta.nbytes)
    return min(analysis.sketch, objective.space.size // SKETCH_SHARE, fitting)


def build_preconditioner(
    analysis: Influence, objective: Objective, matrix: Matrix, damping: Damping, saved: State
) -> Generator[Progress, None, LinearOperator | None]:
    """Yields after each block of products of a sketch; what is not in layers has the mean eigenvalue of those."""
    if matrix.kronecker is not None and analysis.precondition in ("kfac", "ekfac"):
        return matrix.kronecker.inverse(damping.value, 1 / (matrix.kronecker.mean_eigenvalue + damping.value))
    operator, rank = matrix.operator, sketch_rank(analysis, objective, saved)
    if not rank:
        return None
    begin = restore(NystromSketch, saved, operator.like) if saved else initial_sketch(operator, rank)
    sketch = begin
    for sketch in sketch_matrix(operator, rank, matrix.goal.width, analysis.seed, begin):
        yield Progress(sketch.done, rank, f"sketch of {sketch.done} products", partial(snapshot, sketch))
    return precondition_by(operator, sketch, damping.value, analysis.seed)
