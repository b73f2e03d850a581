"""Two nets for a first look: trained on the same digits by gradient descent, one of them with steps of SAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.zoo.digits import digits
from landscape.zoo.mlp import mlp

SIZES = (64, 16, 10)
STEPS, RATE, MOMENTUM = 250, 0.1, 0.9
RHO = 0.6  # radius of SAM's ascent step (Foret et al. 2021, equation 2): a third less curvature at the same loss


def train_pair() -> dict[str, nn.Module]:
    """Both nets by name, `sgd` and `sam`, trained in a second of one core."""
    inputs, labels = (torch.cat(parts) for parts in zip(*digits(split="train"), strict=True))
    return {"sgd": _train(inputs, labels, 0.0), "sam": _train(inputs, labels, RHO)}


def _train(inputs: Tensor, labels: Tensor, rho: float) -> nn.Module:
    """A net trained by full-batch gradient descent, from the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = mlp(SIZES)
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM)
    for _ in range(STEPS):
        moves = _ascend(net, inputs, labels, rho)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for weight, move in zip(net.parameters(), moves, strict=True):
                weight.sub_(move)
        optimizer.step()
    return net


def _ascend(net: nn.Module, inputs: Tensor, labels: Tensor, rho: float) -> list[Tensor]:
    """Moves the weights by rho along the gradient, and returns the moves; nothing for rho 0."""
    weights = list(net.parameters())
    if not rho:
        return [torch.zeros_like(weight) for weight in weights]
    gradients = torch.autograd.grad(nn.functional.cross_entropy(net(inputs), labels), weights)
    length = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
    moves = [rho * gradient / length for gradient in gradients]
    with torch.no_grad():
        for weight, move in zip(weights, moves, strict=True):
            weight.add_(move)
    return moves
