"""The layers' weights and their decompositions, each computed once, of which only one layer's is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from landscape.algorithms.matrices.removal import (
    ActivationDirections,
    Eigenbasis,
    RemovalMethod,
    RotatedComponents,
    SingularValues,
    eigenbasis,
    rotate,
)
from landscape.analyses.memorization.factors import MeasuredFactors
from landscape.evaluation.layers.on_demand import OnDemand
from landscape.evaluation.layers.tensor_store import TensorStore
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

M = TypeVar("M", bound=RemovalMethod)


class Decompositions:
    """Methods of removal by layer, whose bases and coordinates lie in a store and are read when they are asked for."""

    def __init__(self, objective: Objective, layers: Sequence[LinearMap], factors: MeasuredFactors) -> None:
        self.weights = weight_matrices(objective, layers)
        self.factors = factors
        self.store = TensorStore.beside(objective)

    def kfac(self) -> Mapping[str, RotatedComponents]:
        """The components of each layer's weight `(p, q)` between the eigenbases of its G and its A."""
        return self._by_layer(self._kfac)

    def kfac_from_coupling(self) -> Mapping[str, RotatedComponents]:
        """The components between the eigenbases of the coupled factors."""
        return self._by_layer(self._couple)

    def activation(self) -> Mapping[str, ActivationDirections]:
        """The directions of each layer's inputs."""
        return self._by_layer(lambda name: ActivationDirections(self.weights[name], self.input_basis(name)))

    def svd(self) -> Mapping[str, SingularValues]:
        """The singular values of each layer's weight."""
        return self._by_layer(self._svd)

    def input_basis(self, name: str) -> Eigenbasis:
        """The eigenvectors of a layer's A, which layers with the same input share."""
        return self._basis(f"{self.factors.leaders[name]}/A", lambda: self.factors.by_layer[name].a)

    def _kfac(self, name: str) -> RotatedComponents:
        right = self.input_basis(name)
        left = self._basis(f"{name}/G", lambda: self.factors.by_layer[name].g)
        return self._components(name, left, right)

    def _couple(self, name: str) -> RotatedComponents:
        right = self._basis(f"{name}/A", lambda: self.factors.by_layer[name].coupled_factors[0])
        left = self._basis(f"{name}/G", lambda: self.factors.by_layer[name].coupled_factors[1])
        return self._components(name, left, right)

    def _components(self, name: str, left: Eigenbasis, right: Eigenbasis) -> RotatedComponents:
        weight = self.weights[name]
        coordinates = self.store.recall(f"{name}/coordinates", lambda: rotate(weight, left, right))
        return RotatedComponents(weight, left, right, coordinates)

    def _svd(self, name: str) -> SingularValues:
        weight = self.weights[name].double()
        keys = [f"{name}/{part}" for part in "usv"]
        if keys[-1] not in self.store:
            self.store.update(zip(keys, torch.linalg.svd(weight, full_matrices=False), strict=True))
        u, s, v = (self.store[key] for key in keys)
        return SingularValues(weight, (u, s, v))

    def _basis(self, key: str, matrix: Callable[[], Tensor]) -> Eigenbasis:
        vectors, values = f"{key}/vectors", f"{key}/values"
        if values not in self.store:
            basis = eigenbasis(matrix())
            self.store[vectors], self.store[values] = basis.vectors, torch.from_numpy(basis.values)
        return Eigenbasis(self.store[vectors], self.store[values].numpy())

    def _by_layer(self, make: Callable[[str], M]) -> Mapping[str, M]:
        return OnDemand(self.weights, make)


def weight_matrices(objective: Objective, layers: Sequence[LinearMap]) -> Mapping[str, Tensor]:
    """The weight of each layer as a matrix `(p, q)`, a view into theta."""
    parameters = objective.space.unflatten(objective.theta)
    return {layer.name: layer.matrix(parameters[layer.parameter]) for layer in layers}
