"""Spectra of layers against dense eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memorized import fit_net, memorization_of
from torch import Tensor

from landscape.algorithms.matrices.removal import Eigenbasis, RotatedComponents
from landscape.analyses.memorization.layer_columns import component_spectrum

Data = tuple[Tensor, Tensor]


def test_eigenvalues_and_mass_are_those_of_the_factors(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    found = memorization_of(objective, labels="gold")
    x = classification[0][:16].double()
    assert np.allclose(found.activation_eigenvalues[0, :5], torch.linalg.eigvalsh(x.T @ x / 16).flip(0), atol=1e-12)
    assert np.isnan(found.activation_eigenvalues[0, 5:]).all()
    lam, mu = found.gradient_eigenvalues[0, :6], found.activation_eigenvalues[0, :5]
    mass = np.sort(np.outer(lam, mu).ravel())[::-1]
    assert found.layer_trace[0] == pytest.approx(mass.sum(), rel=1e-12)
    counts = np.maximum(1, np.round(found.share * 30)).astype(int)
    assert np.allclose(found.component_mass[0], mass[counts - 1], rtol=1e-12)
    assert np.allclose(found.cumulative_mass[0], np.cumsum(mass)[counts - 1] / mass.sum(), rtol=1e-12)


def test_the_spectrum_of_designed_eigenvalues_is_that_of_their_products() -> None:
    left = Eigenbasis(torch.eye(2).double(), np.array([4.0, 1.0]))
    right = Eigenbasis(torch.eye(2).double(), np.array([2.0, 1.0]))
    mass, cumulative = component_spectrum(
        RotatedComponents(torch.ones(2, 2), left, right), np.array([1e-4, 0.25, 0.5, 0.75, 1.0])
    )
    assert mass.tolist() == [8, 8, 4, 2, 1]  # the first share rounds to no component, and one is shown
    assert cumulative == pytest.approx(np.array([8, 8, 12, 14, 15]) / 15)


def test_a_layer_without_curvature_has_no_shares() -> None:
    zero = Eigenbasis(torch.eye(2).double(), np.zeros(2))
    _, cumulative = component_spectrum(RotatedComponents(torch.ones(2, 2), zero, zero), np.array([0.5, 1.0]))
    assert np.isnan(cumulative).all()


def test_sizes_and_tokens_are_those_of_the_layers(classification: Data) -> None:
    found = memorization_of(fit_net(classification))
    assert found.layer.tolist() == ["0", "2"]
    assert found.layer_inputs.tolist() == [5, 6]
    assert found.layer_outputs.tolist() == [6, 4]
    assert found.layer_tokens.tolist() == [16, 16]
    assert found.activation_eigenvalues.shape == found.gradient_eigenvalues.shape == (2, 6)
