"""Weights of layers, their components in the eigenbases of Kronecker factors, and theta with changed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.matrices.removal import Eigenbasis, RemovalMethod, RotatedComponents, eigenbasis
from landscape.evaluation.layers.kfac import Factor
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

SMALLEST_ENERGY = 1e-300  # keeps 0 / 0 of layers whose weights are zero from being NaN


def replace_weights(objective: Objective, weights: Mapping[str, Tensor], layers: Sequence[LinearMap]) -> Tensor:
    """Theta `(P,)` with new matrices `(p, q)` for the layers that `weights` names."""
    theta = objective.theta.clone()
    views = objective.space.unflatten(theta)
    for layer in layers:
        if layer.name in weights:
            views[layer.parameter].copy_(layer.weight(weights[layer.name]))
    return theta


def weight_matrices(objective: Objective, layers: Sequence[LinearMap]) -> dict[str, Tensor]:
    """The weight of each layer as a matrix `(p, q)`, float64."""
    parameters = objective.space.unflatten(objective.theta)
    return {layer.name: layer.matrix(parameters[layer.parameter]).double() for layer in layers}


def input_eigenbases(factors: Mapping[str, Factor]) -> dict[str, Eigenbasis]:
    """The eigenvectors of each layer's A, computed once for all layers that share an A."""
    bases: dict[int, Eigenbasis] = {}  # by the id of the sums, which `factors` holds
    for factor in factors.values():
        if id(factor.activations) not in bases:
            bases[id(factor.activations)] = eigenbasis(factor.a)
    return {name: bases[id(factor.activations)] for name, factor in factors.items()}


def kfac_components(weights: Mapping[str, Tensor], factors: Mapping[str, Factor]) -> dict[str, RotatedComponents]:
    """The components of each layer's weight `(p, q)` between the eigenbases of its G and its A."""
    right = input_eigenbases(factors)
    left = {name: eigenbasis(factor.g) for name, factor in factors.items()}
    return {name: RotatedComponents(weights[name], left[name], right[name]) for name in factors}


def rho_columns(methods: Mapping[str, RemovalMethod], rhos: Sequence[float]) -> dict[str, Any]:
    """Columns over rho `(R,)`: the share of components, of curvature mass and of weight energy that is kept.

    Components and energy are those of all layers together; the mass is a mean over layers.
    `layer_kept_fraction` is `(layers, R)`.
    """
    removals = [[method.remove(rho) for method in methods.values()] for rho in rhos]
    energies = np.array([float(method.weight.square().sum()) for method in methods.values()])
    layer_energy = np.array([[one.energy for one in row] for row in removals])
    return {
        "rho": np.array(rhos),
        "kept_fraction": np.array([sum(one.kept for one in row) / sum(one.size for one in row) for row in removals]),
        "curvature_mass": np.array([[one.mass for one in row] for row in removals]).mean(axis=1),
        "weight_energy": layer_energy @ energies / max(energies.sum(), SMALLEST_ENERGY),
        "ties": np.array([sum(one.ties for one in row) for row in removals]),
        "layer_kept_fraction": np.array([[one.kept / one.size for one in row] for row in removals]).T,
    }
