"""The gradient measures of populations against single samples' gradients, and the contract of `measures --by`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import tanh_net
from population_objectives import CLASSES, population_objective, samples_of_class
from torch import nn

import landscape
from landscape import Measures, Objective


class TestMeasuresByClass(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Measures:
        return Measures(draws=0, rtol=0.5, by="class")

    @pytest.fixture
    def objective(self) -> Objective:
        return population_objective()


def sample_gradients(label: int) -> tuple[np.ndarray, np.ndarray]:
    """The gradients `(n, P)` of the samples of a class, by autograd alone, and the weights `(P,)`."""
    rows, net = [], tanh_net().double()
    for x, y in zip(*samples_of_class(label), strict=True):
        grads = torch.autograd.grad(nn.functional.cross_entropy(net(x.double()), y), list(net.parameters()))
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    return torch.stack(rows).numpy(), theta.numpy()


def test_noise_and_fisher_rao_norms_are_those_of_the_samples() -> None:
    result = landscape.run(Measures(draws=0, rtol=0.5, by="class"), population_objective())
    for label in range(CLASSES):
        rows, theta = sample_gradients(label)
        covariance = np.trace(np.cov(rows.T))
        assert result.population_noise_trace[label] == pytest.approx(covariance, rel=1e-9)
        scale = covariance / np.linalg.norm(rows.mean(axis=0)) ** 2
        assert result.population_noise_scale[label] == pytest.approx(scale, rel=1e-9)
        assert result.population_fisher_rao[label] == pytest.approx(((rows @ theta) ** 2).mean() ** 0.5, rel=1e-9)


def test_squares_of_fisher_rao_norms_add_up() -> None:
    result = landscape.run(Measures(draws=0, rtol=0.5, by="class"), population_objective())
    total = result.population_share @ result.population_fisher_rao**2
    assert total == pytest.approx(result.fisher_rao**2, rel=1e-12)


def two_terms(model: nn.Module, batch: Any) -> dict[str, Any]:
    """Two terms without a loss for each sample."""
    w = model.weight
    return {"up": (2 * w[0, 0] * len(batch), len(batch)), "down": (w.square().sum() * 3 * len(batch), len(batch))}


def test_terms_without_losses_of_samples_have_gradients_alone() -> None:
    objective = Objective(nn.Linear(2, 1), [torch.ones(3, 2)], objective=two_terms)
    result = landscape.run(Measures(draws=0, by="term"), objective)
    assert list(result.population) == ["up", "down"]
    assert np.isfinite(result.gradient_cosine).all()
    assert np.isnan(result.population_fisher_rao).all()
    assert np.isnan(result.population_loss_se).all()
