"""The loss at the checkpoint and the norm of its gradient, against torch alone."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import NumericalError


def test_it_is_the_loss_and_the_norm_of_the_gradient(classification: tuple[Tensor, Tensor]) -> None:
    x, y = classification
    model = tanh_net().double()
    loss = nn.functional.cross_entropy(model(x.double()), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    found = Objective(tanh_net(), classification, "cross_entropy", dtype="float64").reference
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    assert found.gradient_norm == pytest.approx(torch.cat([g.ravel() for g in gradients]).norm().item(), rel=1e-12)


def test_a_gradient_that_overflows_is_named() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e30)
    data = torch.full((2, 1), 1e5), torch.zeros(2, 1)
    with pytest.raises(NumericalError, match="gradient|loss"):
        _ = Objective(model, data, "mse").reference
