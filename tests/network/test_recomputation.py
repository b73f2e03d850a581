"""Models that recompute their activations: their derivatives are those of models that keep them."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.utils import checkpoint as module
from torch.utils.checkpoint import checkpoint

from landscape import Objective
from landscape.operators import HessianOperator


class Recomputing(nn.Module):
    """The net of the other tests, its first layers recomputed in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.between, self.last = tanh_net()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = checkpoint(lambda x: self.between(self.first(x)), x, use_reentrant=self.reentrant)
        out: Tensor = self.last(hidden)
        return out


@pytest.mark.parametrize("reentrant", [False, True])
def test_derivatives_are_those_of_the_plain_model(classification: tuple[Tensor, Tensor], reentrant: bool) -> None:
    plain = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    other = Objective(Recomputing(reentrant), [classification], "cross_entropy", dtype="float64")
    away = plain.theta + 0.5
    assert torch.allclose(other.gradient(away), plain.gradient(away), rtol=1e-12)
    for theta in (None, away):
        product = HessianOperator(other, theta) @ plain.theta
        assert torch.allclose(product, HessianOperator(plain, theta) @ plain.theta, rtol=1e-12, atol=1e-15)


def test_the_user_s_own_training_still_recomputes(classification: tuple[Tensor, Tensor]) -> None:
    before = module.CheckpointFunction
    net, passes = Recomputing(True), []
    net.between.register_forward_hook(lambda *_: passes.append(1))
    Objective(net, [classification], "cross_entropy").gradient()
    assert module.CheckpointFunction is before
    x = classification[0].clone().requires_grad_()
    passes.clear()
    net(x).sum().backward()
    assert len(passes) == 2
