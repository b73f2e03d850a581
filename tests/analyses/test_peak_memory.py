"""The tensors that live at once while a large model is measured, in copies of its parameters, without the model."""

from __future__ import annotations

import pytest
import torch
from live_bytes import peak_bytes
from torch import nn

import landscape
from landscape.algorithms.lanczos import basis
from landscape.analyses import Analysis
from landscape.compute import budget, inner_products
from landscape.objective import Objective
from landscape.objective.checks import check, float64

ROWS = 22  # of the basis of one eigenvalue: 2 k + 20


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> Objective:
    """Two million parameters that count as many, in eight layers, with sizes of chunks that are small beside them."""
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    monkeypatch.setattr(inner_products, "CHUNK", 1 << 14)
    monkeypatch.setattr(basis, "ROTATION_CHUNK", 1 << 14)
    monkeypatch.setattr(check, "LARGE_MODEL", 10)
    monkeypatch.setattr(float64, "RESTRICTED", 1 << 14)
    torch.manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Linear(512, 512), nn.Tanh())]
    data = (torch.randn(4, 512), torch.randint(0, 512, (4,)))
    return Objective(nn.Sequential(*layers), data, "cross_entropy")


@pytest.mark.parametrize(
    ("analysis", "copies"),
    [
        (landscape.Eig(k=1, max_products=3), ROWS + 3),
        (landscape.Trace(max_products=2), 4),
        (landscape.Sharpness(starts=1, steps=3, draws=2), 7.5),
        (landscape.Surface(dim=1, grid=3), 3),
    ],
    ids=["eig", "trace", "sharpness", "surface"],
)
def test_a_large_model_is_measured_in_a_few_copies_of_its_parameters(
    objective: Objective, analysis: Analysis, copies: float
) -> None:
    peak = peak_bytes(lambda: landscape.run(analysis, objective)) / objective.theta.nbytes
    assert peak <= copies


def test_an_objective_is_made_in_a_few_copies(objective: Objective) -> None:
    """Theta, other weights beside it, and two gradients of one point: the model's own, and by tensor."""
    data = (torch.randn(4, 512), torch.randint(0, 512, (4,)))
    peak = peak_bytes(lambda: Objective(objective.model, data, "cross_entropy")) / objective.theta.nbytes
    assert peak <= 4
