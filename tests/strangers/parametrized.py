"""Weights that are computed from others: normalized, spectral, orthogonal, pruned, tied."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize, prune

from strangers.stranger import Problem, bring, classes, cross_entropy_terms, integers, numbers, ragged


def changed(change: Callable[[nn.Module], nn.Module]) -> Problem:
    """A net of 5 -> 4 -> 3 whose first layer is changed."""
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old forms are deprecated
        first = change(nn.Linear(5, 4))
    model = nn.Sequential(first, nn.Tanh(), nn.Linear(4, 3))
    for _ in range(5):
        model(classes()[0])  # estimates spectral norms, as training does
    return model, ragged(*classes()), "cross_entropy"


# torch's fused weight norm has a wrong second derivative
@bring("weight norm", "parametrizations.weight_norm", terms=cross_entropy_terms, derivatives="gradients")
def _() -> Problem:
    return changed(parametrizations.weight_norm)


@bring("weight norm, old form", "older vocoders", terms=cross_entropy_terms, derivatives="gradients")
def _() -> Problem:
    return changed(utils.weight_norm)


@bring("spectral norm", "discriminators", terms=cross_entropy_terms)
def _() -> Problem:
    return changed(parametrizations.spectral_norm)


@bring("spectral norm, old form", "older discriminators", terms=cross_entropy_terms)
def _() -> Problem:
    return changed(utils.spectral_norm)


@bring("orthogonal", "orthogonal recurrent nets and flows", terms=cross_entropy_terms)
def _() -> Problem:
    return changed(lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley"))


class Positive(nn.Module):
    """Positive weights, for monotonic nets."""

    def forward(self, weight: Tensor) -> Tensor:
        return nn.functional.softplus(weight)


@bring("positive weights", "own parametrizations of monotonic nets", terms=cross_entropy_terms)
def _() -> Problem:
    def positive(layer: nn.Module) -> nn.Module:
        parametrize.register_parametrization(layer, "weight", Positive())
        return layer

    return changed(positive)


@bring("pruned", "torch.nn.utils.prune", terms=cross_entropy_terms)
def _() -> Problem:
    return changed(lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5))


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder's transpose, and a module that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.encode, self.twice = nn.Linear(5, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.twice(torch.tanh(self.twice(self.encode(x)))))
        return code @ self.encode.weight


@bring("tied autoencoder", "weights used twice", terms=lambda o, t: (((o - t) ** 2).sum(), t.numel()))
def _() -> Problem:
    x = numbers(23, 5)
    return Tied(), ragged(x, x), "mse"


class Shared(nn.Module):
    """Two names of one parameter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(self.embed(ids)).mean(1))
        return logits


@bring("embedding tied to the head", "language models", terms=cross_entropy_terms)
def _() -> Problem:
    return Shared(), ragged(integers(6, 23, 3), integers(6, 23, seed=3)), "cross_entropy"


class Hyper(nn.Module):
    """A net whose weights another net makes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.code = nn.Parameter(torch.randn(2))
        self.maker = nn.Linear(2, 15)

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.tanh(self.maker(self.code)).view(5, 3)


@bring("hypernetwork", "nets that make weights", terms=cross_entropy_terms)
def _() -> Problem:
    return Hyper(), ragged(*classes()), "cross_entropy"


class LowRank(nn.Module):
    """A frozen layer with a trained correction of rank 1, which begins at 0 in one factor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.base = nn.Linear(5, 3).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(1, 5)), nn.Parameter(torch.zeros(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.base(x) + x @ self.down.T @ self.up.T
        return logits


@bring("adapter of low rank", "LoRA at its start, with frozen weights", terms=cross_entropy_terms)
def _() -> Problem:
    return LowRank(), ragged(*classes()), "cross_entropy"
