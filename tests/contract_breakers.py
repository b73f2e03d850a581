"""Models and losses that break what measurements assume, one clause each, and the trouble that must be said."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SEEDED = torch.Generator().manual_seed(0)
X = torch.randn(40, 5, generator=SEEDED)
Y = torch.randint(0, 3, (40,), generator=SEEDED)
BATCHES = [(X[:25], Y[:25]), (X[25:], Y[25:])]


class Net(nn.Module):
    """Two layers with a hook for a disturbance: `disturb(self, hidden)` changes the hidden layer, or the net."""

    def __init__(self, disturb: Callable[[Any, Tensor], Tensor] = lambda net, z: z) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.disturb = nn.Linear(5, 4), nn.Linear(4, 3), disturb
        self.register_buffer("scale", torch.ones(()))
        self.calls, self.kept = 0, None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.b(self.disturb(self, torch.tanh(self.a(x)))) * self.scale
        return out


class SavedDerivative(torch.autograd.Function):
    """z + sin z whose backward pass uses a derivative that was saved in the forward pass: its own is lost."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(1 + torch.cos(z))
        return z + torch.sin(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.saved_tensors[0]


class Clipped(torch.autograd.Function):
    """The identity, which clips gradients."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0].clamp(-0.01, 0.01)


class Rounded(torch.autograd.Function):
    """Rounding with the derivative of the identity (straight-through)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return torch.round(4 * z) / 4

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


class RunAgain(torch.autograd.Function):
    """A function that is run again in the backward pass, as user's own checkpointing does."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Tensor], z: Tensor, *parameters: Tensor) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(z, *parameters)
        with torch.no_grad():
            return run(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        z, *parameters = ctx.saved_tensors
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = z if graph else z.detach().requires_grad_()
            outputs = ctx.run(point)
            parts = torch.autograd.grad(outputs, [point, *parameters], gradients[0], create_graph=graph)
        return (None, *parts)


class Checkpointed(Net):
    """The net of `Net`, whose last layer is run again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.a(x))
        out: Tensor = RunAgain.apply(lambda z: self.b(z), hidden, *self.b.parameters())  # type: ignore[no-untyped-call]
        return out


class AddsInBackward(torch.autograd.Function):
    """A function that is run again in the backward pass, and adds to the gradients of its parameters itself."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(z)
        with torch.no_grad():
            return run(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        point = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.backward(ctx.run(point), gradients[0])
        return None, point.grad


class Reversible(Net):
    """The net of `Net`, whose last layer adds its gradients in a backward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = AddsInBackward.apply(lambda z: self.b(z), torch.tanh(self.a(x)))  # type: ignore[no-untyped-call]
        return out


def counts_large_batches(net: Any, z: Tensor) -> Tensor:
    """A scale that follows a Python counter, which batches as small as those of a trial do not move."""
    net.kept = (net.kept or 0) + (len(z) > 20)
    return z * (1 + 1e-3 * net.kept)


def keeps_the_first_mean(net: Any, z: Tensor) -> Tensor:
    """Initialization that depends on the first data."""
    if net.kept is None:
        net.kept = z.detach().mean(0)
    return z - net.kept


def drops_rarely(net: Any, z: Tensor) -> Tensor:
    """Layer drop that is left on, at one pass in twelve."""
    return 0.5 * z if random.random() < 0.08 else z


def adds_noise_of_numpy(net: Any, z: Tensor) -> Tensor:
    """Noise below the tolerance for rounding."""
    return z * (1 + 1e-4 * float(np.random.standard_normal()))


def adds_noise_of_torch(net: Any, z: Tensor) -> Tensor:
    """Noise below the tolerance for rounding."""
    return z + 1e-4 * torch.randn_like(z)


def clamps_its_weights(net: Any, z: Tensor) -> Tensor:
    """Weights that are clamped in every pass, as critics do."""
    net.b.weight.data.clamp_(-0.1, 0.1)
    return z


def normalizes_its_weights(net: Any, z: Tensor) -> Tensor:
    """Rows of length one, written into the weights."""
    with torch.no_grad():
        net.b.weight.copy_(functional.normalize(net.b.weight, dim=1))
    return z


def class_weighted(output: Tensor, target: Tensor) -> Tensor:
    """A mean whose count is not the number of samples."""
    return functional.cross_entropy(output, target, weight=torch.tensor([1.0, 5.0, 0.2]).to(output))


def contrastive(output: Tensor, target: Tensor) -> Tensor:
    """Each sample against the others in its batch."""
    unit = functional.normalize(output, dim=1)
    return functional.cross_entropy(3 * unit @ unit.T, torch.arange(len(output)))


def pairwise(output: Tensor, target: Tensor) -> Tensor:
    """A ranking within the batch."""
    margins = output[:, 0][:, None] - output[:, 0][None]
    return functional.softplus(-margins * (target[:, None] > target[None])).mean()
