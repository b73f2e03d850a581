"""Theta with changed weights of some layers, and what removals keep at each rho."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.matrices.removal import Removal, RemovalMethod
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

SMALLEST_ENERGY = 1e-300  # keeps 0 / 0 of layers whose weights are zero from being NaN


def theta_with(
    objective: Objective, layers: Sequence[LinearMap], matrix: Callable[[LinearMap], Tensor]
) -> dict[str, Tensor]:
    """Theta by name with a new matrix `(p, q)` for each of the layers, made one after another and cast once.

    All other tensors are the objective's own, which stay as they are.
    """
    theta = objective.theta
    changed = {one.parameter: one.weight(matrix(one)).to(theta).contiguous() for one in layers}
    return {**objective.space.unflatten(theta), **changed}


def rho_columns(methods: Mapping[str, RemovalMethod], rhos: Sequence[float]) -> dict[str, Any]:
    """Columns over rho `(R,)`: the share of components, of curvature mass and of weight energy that is kept.

    Components and energy are those of all layers together; the mass is a mean over layers.
    `layer_kept_fraction` is `(layers, R)`.
    """
    by_layer = [[_numbers(method.remove(rho)) for rho in rhos] for method in methods.values()]  # a layer at a time
    kept, sizes, mass, energy, ties = np.array(by_layer).transpose(2, 0, 1)
    energies = np.array([float(method.weight.square().sum()) for method in methods.values()])
    return {
        "rho": np.array(rhos),
        "kept_fraction": kept.sum(axis=0) / sizes.sum(axis=0),
        "curvature_mass": mass.mean(axis=0),
        "weight_energy": energies @ energy / max(energies.sum(), SMALLEST_ENERGY),
        "ties": ties.sum(axis=0).astype(int),
        "layer_kept_fraction": kept / sizes,
    }


def _numbers(removal: Removal) -> tuple[float, float, float, float, float]:
    """What a removal keeps; exact, since the counts of components are below 2^53."""
    return removal.kept, removal.size, removal.mass, removal.energy, removal.ties
