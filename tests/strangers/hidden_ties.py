"""Parameters that reach the output in unusual ways: shared memory, cached graphs, numbers taken out of torch."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stranger import Problem, bring, classes, cross_entropy_terms, net, numbers, ragged, squared_terms


class Net(nn.Module):
    """A net of 5 -> 4 -> 3 with a scale between its layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second, self.scale = nn.Linear(5, 4), nn.Linear(4, 3), nn.Parameter(torch.tensor(1.3))

    def between(self, hidden: Tensor) -> Tensor:
        """What happens to the hidden layer."""
        return hidden * self.scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.between(torch.tanh(self.first(x))))
        return logits


def tied(model: nn.Module) -> Problem:
    """The net on samples in three classes."""
    return model, ragged(*classes()), "cross_entropy"


class Cached(Net):
    def __init__(self) -> None:
        super().__init__()
        self.cached = self.scale**2  # a graph to the parameter, made once

    def between(self, hidden: Tensor) -> Tensor:
        return hidden * self.cached


@bring("graph kept from the constructor", "a tensor computed once from a parameter", clause="C2", expect="refused")
def _() -> Problem:
    return tied(Cached())


class Number(Net):
    def between(self, hidden: Tensor) -> Tensor:
        return hidden * float(self.scale.detach())


@bring("number taken out of a parameter", "float(weight) in forward", clause="C6", expect="refused")
def _() -> Problem:
    return tied(Number())


class Data(Net):
    def between(self, hidden: Tensor) -> Tensor:
        return hidden * self.scale.data


@bring("weight.data in forward", "a parameter used without its gradient", clause="C6", expect="refused")
def _() -> Problem:
    return tied(Data())


class Maximum(Net):
    def between(self, hidden: Tensor) -> Tensor:
        return hidden * self.scale / float(hidden.detach().abs().max())


@bring("scaled by a detached maximum", "dynamic ranges of activations", clause="C6", expect="refused", alone=False)
def _() -> Problem:
    return tied(Maximum())


class Alias(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("copy", self.scale.data)  # the same memory

    def between(self, hidden: Tensor) -> Tensor:
        return hidden * self.scale * self.copy


@bring("buffer in a parameter's memory", "ties by .data", clause="C1", expect="refused")
def _() -> Problem:
    return tied(Alias())


class Twins(Net):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Linear(4, 4)
        self.fourth = nn.Linear(4, 4)
        self.fourth.weight = nn.Parameter(self.third.weight.data)  # the same memory, another parameter

    def between(self, hidden: Tensor) -> Tensor:
        out: Tensor = torch.tanh(self.fourth(torch.tanh(self.third(hidden)))) * self.scale
        return out


@bring("two parameters in one memory", "ties by .data of two parameters", clause="C1", expect="refused")
def _() -> Problem:
    return tied(Twins())


class Lists(nn.Module):
    """Parameters in lists and dictionaries, and a parameter that is a view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.several = nn.ParameterList([nn.Parameter(torch.randn(5, 3) / 2) for _ in range(2)])
        self.named = nn.ParameterDict(
            {"gain": nn.Parameter(torch.randn(1).expand(1)), "shift": nn.Parameter(torch.randn(3))}
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.several[0]) * self.named["gain"] + x @ self.several[1] + self.named["shift"]


@bring("parameters in containers", "ParameterList and ParameterDict", terms=cross_entropy_terms)
def _() -> Problem:
    return tied(Lists())


class Scripted(nn.Module):
    """A net for torch.jit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(torch.tanh(self.first(x)))
        return logits


@bring("torch.jit.trace", "models saved by tracing", terms=cross_entropy_terms)
def _() -> Problem:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return tied(torch.jit.trace(Scripted(), classes()[0]))


@bring("torch.jit.script", "models saved by scripting", terms=cross_entropy_terms)
def _() -> Problem:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return tied(torch.jit.script(Scripted()))


class Narrow(nn.Module):
    """A net that computes in bfloat16, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out: Tensor = self.net(x)
        return out.to(x.dtype)


@bring(
    "autocast in forward",
    "mixed precision inside",
    expect="said",
    terms=cross_entropy_terms,
    says="less than float32",
    rounding=1e-2,
)
def _() -> Problem:
    return tied(Narrow())


class Single(nn.Module):
    """A net that computes in float32, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.linear(x.float(), self.first.weight.float(), self.first.bias.float())
        logits: Tensor = self.second(torch.tanh(hidden).to(x.dtype))
        return logits


@bring("float32 inside", "models that cast their inputs", terms=cross_entropy_terms, derivatives="autograd")
def _() -> Problem:
    return tied(Single())


class Median(Net):
    def between(self, hidden: Tensor) -> Tensor:
        ordered = hidden.sort(dim=1).values
        return ordered * self.scale + hidden.topk(2, dim=1).values.sum(1, keepdim=True) + hidden.amax(1, keepdim=True)


@bring("sorting, top-k and maxima", "poolings with kinks", terms=cross_entropy_terms)
def _() -> Problem:
    return tied(Median())


class Solving(nn.Module):
    """Ridge regression inside the model (meta-learning), and a determinant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.features = nn.Linear(4, 3)

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        a = torch.tanh(self.features(support[..., :4]))
        gram = a.transpose(1, 2) @ a + torch.eye(3, dtype=a.dtype)
        weights = torch.linalg.solve(gram, a.transpose(1, 2) @ support[..., 4:])
        out = torch.tanh(self.features(query[:, None])) @ weights
        return out[:, 0] + torch.logdet(gram)[:, None]


@bring("linear solves inside", "meta-learning and Gaussian processes", terms=squared_terms)
def _() -> Problem:
    batches = [
        ((a, b), c)
        for a, b, c in ragged(numbers(14, 6, 5), numbers(14, 4, seed=1), numbers(14, 1, seed=2), sizes=(5, 5, 4))
    ]
    return Solving(), batches, "mse"


class Unrolled(nn.Module):
    """Two steps of gradient descent inside the model (MAML)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.weight, self.rate = nn.Parameter(torch.randn(3, 1) / 2), nn.Parameter(torch.tensor(0.2))

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        with torch.enable_grad():
            weight = self.weight.expand(len(support), 3, 1)
            for _ in range(2):
                error = (torch.tanh(support[..., :3] @ weight) - support[..., 3:]) ** 2
                (slope,) = torch.autograd.grad(error.mean(1).sum(), weight, create_graph=True)
                weight = weight - self.rate * slope
        return torch.tanh(query[:, None] @ weight)[:, 0]


@bring("unrolled gradient steps", "MAML", clause="C3", terms=squared_terms)
def _() -> Problem:
    batches = [
        ((a, b), c)
        for a, b, c in ragged(numbers(14, 6, 4), numbers(14, 3, seed=1), numbers(14, 1, seed=2), sizes=(5, 5, 4))
    ]
    return Unrolled(), batches, "mse"


@bring("nested inputs", "dictionaries in tuples", terms=cross_entropy_terms)
def _() -> Problem:
    class Nested(nn.Module):
        """Takes a dictionary."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, batch: dict[str, Any]) -> Tensor:
            out: Tensor = self.net(batch["image"]["left"] + batch["image"]["right"])
            return out

    x, y = classes()
    return Nested(), [(({"image": {"left": a, "right": -0.5 * a}},), b) for a, b in ragged(x, y)], "cross_entropy"
