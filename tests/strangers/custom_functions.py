"""Custom autograd functions, right and wrong, rounding, and hooks that change gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strangers.stranger import Problem, bring, classes, cross_entropy_terms, ragged


class Softsign(torch.autograd.Function):
    """x / (1 + |x|) with a backward pass that can be differentiated again."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x / (1 + x.abs())

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return slopes[0] / (1 + x.abs()) ** 2


class Saved(torch.autograd.Function):
    """mish with its derivative saved in forward: its second derivative is lost, and the matrix stays symmetric."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            y = nn.functional.mish(place)
            (slope,) = torch.autograd.grad(y.sum(), place)
        context.save_for_backward(slope)
        return y.detach()

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        (slope,) = context.saved_tensors
        return slopes[0] * slope


class Wrong(torch.autograd.Function):
    """sin with the wrong sign in its derivative."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return -slopes[0] * x.cos()


class OnceOnly(torch.autograd.Function):
    """exp(-x^2) that says that it cannot be differentiated twice."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        y = torch.exp(-x * x)
        context.save_for_backward(x, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        x, y = context.saved_tensors
        return -2 * x * y * slopes[0]


class Clipped(torch.autograd.Function):
    """Identity whose backward pass bounds the gradient."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        return slopes[0].clamp(-0.01, 0.01)


class Reversal(torch.autograd.Function):
    """Identity whose backward pass turns the gradient around (domain-adversarial training)."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        return -0.3 * slopes[0]


class Rounded(torch.autograd.Function):
    """Rounding with a straight-through gradient."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Tensor:
        return slopes[0]


class Activated(nn.Module):
    """A net of 5 -> 4 -> 3 with an activation of one's own."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second, self.function = nn.Linear(5, 4), nn.Linear(4, 3), function

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.function(self.first(x)))
        return logits


def activated(function: Any) -> Problem:
    """The net on samples in three classes."""
    return Activated(function), ragged(*classes()), "cross_entropy"


@bring("custom function, right", "own activations that can be differentiated twice", terms=cross_entropy_terms)
def _() -> Problem:
    return activated(Softsign.apply)


@bring(
    "custom function, saved derivative",
    "fused activations that save f' in forward",
    clause="C6",
    expect="said",
    terms=cross_entropy_terms,
    derivatives="gradients",
)
def _() -> Problem:
    return activated(Saved.apply)


@bring(
    "custom function, once only",
    "functions marked once_differentiable",
    clause="C6",
    expect="said",
    terms=cross_entropy_terms,
    derivatives="gradients",
)
def _() -> Problem:
    return activated(OnceOnly.apply)


@bring(
    "custom function, wrong sign",
    "functions whose gradient has a mistake",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    derivatives="values",
)
def _() -> Problem:
    return activated(Wrong.apply)


@bring(
    "gradient clipped inside",
    "layers that bound the gradient in backward",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    derivatives="values",
)
def _() -> Problem:
    return activated(lambda x: Clipped.apply(x.tanh()))  # type: ignore[no-untyped-call]


@bring(
    "gradient reversal",
    "domain-adversarial nets",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    derivatives="values",
)
def _() -> Problem:
    return activated(lambda x: Reversal.apply(x.tanh()))  # type: ignore[no-untyped-call]


@bring("straight-through rounding", "activations of few bits", clause="C6", expect="refused")
def _() -> Problem:
    return activated(lambda x: Rounded.apply(x.tanh()))  # type: ignore[no-untyped-call]


class Quantized(nn.Linear):
    """A layer whose weights are rounded in forward, with x + (round(x) - x).detach()."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = self.weight + ((8 * self.weight).round() / 8 - self.weight).detach()
        return nn.functional.linear(x, rounded, self.bias)


@bring("quantization-aware weights", "training with fake quantization", clause="C6", expect="refused")
def _() -> Problem:
    torch.manual_seed(2)
    return nn.Sequential(Quantized(5, 4), nn.Tanh(), nn.Linear(4, 3)), ragged(*classes()), "cross_entropy"


class Binary(nn.Module):
    """Signs of weights, with the gradient of a hard tanh."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        soft = self.first.weight.clamp(-1, 1)
        sign = soft + (self.first.weight.sign() - soft).detach()
        logits: Tensor = self.second(torch.tanh(x @ sign.T))
        return logits


@bring(
    "binary weights",
    "nets of signs with a straight-through gradient",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    cannot=("memorization", "critical"),
)  # the factors of the last layer are right, and so is the loss along the update that training makes
def _() -> Problem:
    return Binary(), ragged(*classes()), "cross_entropy"


class Hooked(nn.Module):
    """A net whose hidden tensor has a hook on its gradient."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second, self.factor = nn.Linear(5, 4), nn.Linear(4, 3), factor

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        if hidden.requires_grad:
            hidden.register_hook(lambda slope: self.factor * slope)
        logits: Tensor = self.second(hidden)
        return logits


@bring(
    "hook that scales gradients",
    "gradients scaled between modules",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    derivatives="values",
)
def _() -> Problem:
    return Hooked(0.5), ragged(*classes()), "cross_entropy"


@bring(
    "full backward hook",
    "module hooks that bound gradients",
    clause="C6",
    expect="refused",
    terms=cross_entropy_terms,
    derivatives="values",
)
def _() -> Problem:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model[1].register_full_backward_hook(lambda module, inward, outward: (inward[0].clamp(-0.01, 0.01),))
    return model, ragged(*classes()), "cross_entropy"


@bring(
    "parameter hook",
    "weight.register_hook that masks gradients",
    clause="C1",
    derivatives="values",
    terms=cross_entropy_terms,
)
def _() -> Problem:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model[0].weight.register_hook(lambda slope: slope * (slope.abs() > 0.02))
    return model, ragged(*classes()), "cross_entropy"


@bring("forward hook", "probes that record, and a hook that changes an output", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model[1].register_forward_hook(lambda module, inputs, output: output * 1.5 + 0.1)
    return model, ragged(*classes()), "cross_entropy"
