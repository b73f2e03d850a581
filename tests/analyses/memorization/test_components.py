"""Weights, their components, and the columns over rho."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memorized import edit_of, fit_net, memorization_of
from torch import Tensor

from landscape import Memorization
from landscape.algorithms.matrices.removal import Eigenbasis, RotatedComponents
from landscape.analyses.memorization.components import rho_columns, theta_with
from landscape.analyses.memorization.memorization_measurement import RHOS
from landscape.analyses.memorization.setup import curvature_setup

Data = tuple[Tensor, Tensor]


def test_everything_is_kept_at_rho_1_and_shares_grow(classification: Data) -> None:
    found = memorization_of(fit_net(classification))
    assert tuple(found.rho) == RHOS
    for values in (found.kept_fraction, found.curvature_mass, found.weight_energy):
        assert values[-1] == 1
        assert (np.diff(values) >= 0).all()
    assert (found.curvature_mass >= found.rho - 1e-12).all()
    assert (found.layer_kept_fraction[:, -1] == 1).all()


def test_the_energy_is_that_of_all_layers_together(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    found = edit_of(objective, rho=(0.6,))
    before = objective.space.unflatten(objective.theta)
    names = ["0.weight", "2.weight"]
    assert found.weights is not None
    left = sum(float((found.weights[name] ** 2).sum()) for name in names)
    assert found.weight_energy[1] == pytest.approx(
        left / sum(float(before[n].square().sum()) for n in names), rel=1e-10
    )


def test_only_the_named_weights_are_replaced(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    layers = curvature_setup(Memorization(), objective).layers
    before = objective.theta.clone()
    theta = theta_with(objective, layers[1:], lambda layer: torch.full((4, 6), 7.0).double())
    assert torch.equal(objective.theta, before)
    own = objective.space.unflatten(objective.theta)
    assert list(theta) == list(own)
    assert {name for name, part in theta.items() if part.data_ptr() != own[name].data_ptr()} == {"2.weight"}
    assert (theta["2.weight"] == 7).all()


def test_columns_over_rho_are_those_of_a_weight_whose_components_are_its_entries() -> None:
    """Masses 8, 4, 2, 1 of 15 and energies 1, 4, 9, 16 of 30, in the same order."""
    left = Eigenbasis(torch.eye(2).double(), np.array([4.0, 1.0]))
    right = Eigenbasis(torch.eye(2).double(), np.array([2.0, 1.0]))
    method = RotatedComponents(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), left, right)
    columns = rho_columns({"a": method}, (0.5, 0.8, 1.0))
    assert columns["rho"].tolist() == [0.5, 0.8, 1.0]
    assert columns["kept_fraction"].tolist() == [1 / 4, 2 / 4, 1.0]
    assert columns["curvature_mass"] == pytest.approx([8 / 15, 12 / 15, 1.0])
    assert columns["weight_energy"] == pytest.approx([1 / 30, 5 / 30, 1.0])
    assert columns["layer_kept_fraction"].shape == (1, 3)


def test_energy_is_over_all_layers_and_mass_a_mean_over_them() -> None:
    basis = Eigenbasis(torch.eye(1).double(), np.array([1.0]))
    pair = Eigenbasis(torch.eye(2).double(), np.array([3.0, 1.0]))
    big = RotatedComponents(torch.tensor([[3.0, 4.0]]), basis, pair)
    small = RotatedComponents(torch.tensor([[1.0]]), basis, basis)
    columns = rho_columns({"big": big, "small": small}, (0.7,))
    assert columns["kept_fraction"].tolist() == [2 / 3]
    assert columns["curvature_mass"] == pytest.approx([(3 / 4 + 1) / 2])
    assert columns["weight_energy"] == pytest.approx([(9 + 1) / (25 + 1)])
