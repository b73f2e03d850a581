"""Planes along directions from the checkpoint: random ones, the gradient, or eigenvectors of the Hessian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.analyses.surfaces.frame import Frame
from landscape.compute.inner_products import dot, norm
from landscape.errors import UsageError
from landscape.evaluation import directions
from landscape.evaluation.directions import Treatment
from landscape.evaluation.sweep import Plane
from landscape.objective import Objective

# The default extent of coordinates: at its end a random direction adds a vector as long as the weights.
DIRECTION_EXTENT = (-1.0, 1.0)


def random_frame(
    objective: Objective, dimension: int, treatments: Sequence[Treatment], seed: int, number: int
) -> Frame:
    """Plane `number` of those along Gaussian directions, each normalized as the treatments say."""
    return _frame(
        [
            directions.gaussian_direction(objective, treatments, seed, "surface", number, axis)
            for axis in range(dimension)
        ]
    )


def gradient_frame(objective: Objective, dimension: int, treatments: Sequence[Treatment], seed: int) -> Frame:
    """The unit vector along the gradient; in two dimensions also a random unit vector orthogonal to it.

    Raises UsageError where the gradient is zero, or one parameter has no second direction.
    """
    gradient = objective.gradient()
    if not bool(gradient.any()):
        raise UsageError("there is no direction: the gradient is zero", fix="--axes random or eigen")
    rows = [gradient / norm(gradient)]
    if dimension == 2:
        other = seeds.normal(objective.space.size, objective.theta, seed, "surface", "beside")
        other -= dot(rows[0], other) * rows[0]
        if len(other) == 1:
            raise UsageError("one parameter has no second direction", fix="--dim 1")
        rows.append(other / norm(other))
    return _frame([directions.apply_treatments(row, objective, treatments) for row in rows])


def eigenvector_frame(objective: Objective, vectors: np.ndarray, treatments: Sequence[Treatment]) -> Frame:
    """The unit eigenvectors `(P, axes)`, that of the largest eigenvalue first."""
    rows = [torch.from_numpy(column.copy()).to(objective.theta) for column in vectors.T]
    return _frame([directions.apply_treatments(row, objective, treatments) for row in rows])


def _frame(rows: Sequence[Tensor]) -> Frame:
    return Frame(Plane(tuple(rows)), (DIRECTION_EXTENT,) * len(rows))
