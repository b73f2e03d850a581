"""Losses that close over the model: decay, sparsity, earlier weights, orthogonality, penalties of gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stranger import Problem, bring, classes, net, numbers, ragged


@bring("decay in the loss", "a penalty over model.parameters()", clause="C1")
def _() -> Problem:
    model = net()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) + 0.05 * sum((p**2).sum() for p in model.parameters())

    return model, ragged(*classes()), loss


@bring("sparsity in the loss", "an L1 penalty of one layer", clause="C1")
def _() -> Problem:
    model = net()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) + 0.1 * model[0].weight.abs().sum()

    return model, ragged(*classes()), loss


@bring("earlier weights in the loss", "elastic weight consolidation", clause="C1")
def _() -> Problem:
    model = net()
    earlier = [p.detach().clone() + 0.1 for p in model.parameters()]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        apart = sum(((p - q) ** 2).sum() for p, q in zip(model.parameters(), earlier, strict=True))
        return functional.cross_entropy(output, target, reduction="none") + 0.2 * apart

    return model, ragged(*classes()), loss


@bring("parameters captured in a list", "a list of parameters made before", clause="C1")
def _() -> Problem:
    model = net()
    captured = list(model.parameters())

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) + 0.05 * sum((p**2).sum() for p in captured)

    return model, ragged(*classes()), loss


@bring("one weight captured", "a penalty on one tensor, by its variable", clause="C1")
def _() -> Problem:
    model = net()
    weight = model[2].weight

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) + 0.1 * (weight @ weight.T - torch.eye(3)).square().sum()

    return model, ragged(*classes()), loss


class Regularized(nn.Module):
    """A criterion that holds the model whose weights it keeps orthogonal."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.models = [model]  # in a list, so that its parameters are not the criterion's

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        weight: Any = self.models[0][0].weight
        return functional.cross_entropy(output, target) + 0.1 * (weight @ weight.T).square().mean()


@bring("orthogonality in a criterion", "a loss module that holds the model", clause="C1")
def _() -> Problem:
    model = net()
    return model, ragged(*classes()), Regularized(model)


@bring("gradient penalty", "critics of WGAN-GP: the loss calls the model again", clause="C1")
def _() -> Problem:
    model = net(1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        with torch.enable_grad():
            place = target.detach().requires_grad_()
            (slope,) = torch.autograd.grad(model(place).sum(), place, create_graph=True)
        return (output[:, 0] + (slope.norm(dim=1) - 1) ** 2).mean()

    return model, ragged(numbers(20, 5), numbers(20, 5, seed=3), sizes=(8, 8, 4)), loss


@bring("consistency of two views", "a loss that calls the model again on the targets", clause="C1")
def _() -> Problem:
    model = net(2)
    return (
        model,
        ragged(numbers(20, 5), numbers(20, 5, seed=3), sizes=(8, 8, 4)),
        (lambda output, target: ((output - model(target)) ** 2).mean(1)),
    )
