"""Odd sizes, dtypes and data: one parameter, dead nets, frozen and complex weights, kinks, scales, lazy layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from strangers.stranger import (
    Problem,
    bring,
    classes,
    cross_entropy_terms,
    integers,
    net,
    numbers,
    ragged,
    squared_terms,
)


@bring("one parameter", "a slope to be fitted", terms=squared_terms)
def _() -> Problem:
    torch.manual_seed(0)
    return nn.Linear(1, 1, bias=False), ragged(numbers(23, 1), numbers(23, 1, seed=1)), "mse"


@bring("dead net", "ReLUs that no sample reaches", expect="said", terms=cross_entropy_terms)
def _() -> Problem:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-1.0)
        model[2].weight.fill_(0.5)
    return model, ragged(*classes()), "cross_entropy"


@bring("frozen body", "fine-tuning of a head", terms=cross_entropy_terms)
def _() -> Problem:
    model = net()
    model[0].requires_grad_(False)
    return model, ragged(*classes()), "cross_entropy"


class Mixed(nn.Module):
    """A float64 table, half weights, and integers in buffers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = nn.Linear(5, 4).half(), nn.Linear(4, 3)
        self.register_buffer("table", torch.linspace(0, 1, 4, dtype=torch.float64))
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.to(self.first.weight.dtype)).to(self.second.weight.dtype)
        logits: Tensor = self.second(torch.tanh(hidden[:, self.order] + self.table.to(hidden.dtype)))
        return logits


@bring("mixed dtypes", "half weights, float64 and integer buffers", terms=cross_entropy_terms)
def _() -> Problem:
    return Mixed(), ragged(*classes()), "cross_entropy"


class Complex(nn.Module):
    """A complex layer: its output's modulus is classified."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mix = nn.Parameter(torch.randn(3, 5, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(self.mix.dtype) @ self.mix.T).abs()


@bring("complex weights", "Fourier layers", expect="refused")
def _() -> Problem:
    return Complex(), ragged(*classes()), "cross_entropy"


@bring("Fourier layer of pairs", "complex weights stored as pairs of reals", terms=cross_entropy_terms)
def _() -> Problem:
    return Pairwise(), ragged(*classes()), "cross_entropy"


class Pairwise(nn.Module):
    """A filter in frequency space, its weights viewed as complex."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.filter, self.head = nn.Parameter(torch.randn(3, 2)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x) * torch.view_as_complex(self.filter)
        logits: Tensor = self.head(torch.tanh(torch.fft.irfft(spectrum, n=5)))
        return logits


@bring("ReLU and max-pool", "convolutional nets with kinks", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return model, ragged(numbers(15, 1, 6, 6), integers(3, 15), sizes=(6, 6, 3)), "cross_entropy"


@bring("grouped and transposed convolutions", "decoders of images", terms=squared_terms)
def _() -> Problem:
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv1d(4, 4, 2, groups=2), nn.GELU(), nn.ConvTranspose1d(4, 2, 2), nn.GroupNorm(1, 2), nn.PReLU()
    )
    return model, ragged(numbers(12, 4, 5), numbers(12, 2, 5, seed=1), sizes=(5, 5, 2)), "mse"


@bring("large outputs", "targets in thousands, not scaled", terms=squared_terms)
def _() -> Problem:
    return net(1), ragged(numbers(23, 5), 3000 + 1000 * numbers(23, 1, seed=1)), "mse"


@bring("small outputs", "targets in millionths, not scaled", terms=squared_terms, options={"dtype": "float64"})
def _() -> Problem:
    model = net(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-3)
    return model, ragged(numbers(23, 5), 1e-6 * numbers(23, 1, seed=1)), "mse"


@bring("one sample", "a single image", terms=cross_entropy_terms)
def _() -> Problem:
    x, y = classes(1)
    return net(), [(x, y)], "cross_entropy"


@bring("batches of one", "loaders that never batch", terms=cross_entropy_terms)
def _() -> Problem:
    return net(), ragged(*classes(6), sizes=(1,) * 6), "cross_entropy"


@bring("a DataLoader", "a loader over a dataset", terms=cross_entropy_terms)
def _() -> Problem:
    return net(), DataLoader(TensorDataset(*classes()), batch_size=9), "cross_entropy"


@bring("lazy layers", "shapes that the first batch decides", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(6)
    model = nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(3))
    model(classes()[0])
    return model, ragged(*classes()), "cross_entropy"


@bring("lazy layers, never called", "the same before any batch", expect="refused")
def _() -> Problem:
    return nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(3)), ragged(*classes()), "cross_entropy"


class Graph(nn.Module):
    """A graph convolution: messages pass between the samples of a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        logits: Tensor = self.second(links @ hidden)
        return logits


@bring(
    "graph in one batch",
    "node classification with a dense adjacency",
    terms=cross_entropy_terms,
    clause="C4",
    units=True,
    says="each batch is one unit",
)
def _() -> Problem:
    x, y = classes(12)
    links = (numbers(12, 12, seed=8) > 0.8).float() + torch.eye(12)
    return Graph(), [((x, links / links.sum(1, keepdim=True)), y)], "cross_entropy"


@bring("nearly converged", "a net close to a minimum", terms=squared_terms)
def _() -> Problem:
    x, model = numbers(23, 3), nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.01, -2.0, 0.5]]))
        model.bias.fill_(0.01)
    return model, ragged(x, x @ torch.tensor([[1.0], [-2.0], [0.5]])), "mse"


@bring("flat directions", "twice the parameters that the data decide", terms=squared_terms)
def _() -> Problem:
    torch.manual_seed(8)
    return nn.Linear(30, 1), ragged(numbers(10, 30), numbers(10, 1, seed=1), sizes=(4, 4, 2)), "mse"


class Flattened(nn.Module):
    """A model that returns a named tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(2)

    def forward(self, x: Tensor) -> Any:
        return torch.return_types.max((self.net(x), torch.zeros(len(x), dtype=torch.long)))


@bring("named tuple out", "outputs that carry names")
def _() -> Problem:
    return Flattened(), ragged(numbers(23, 5), numbers(23, 2, seed=2)), lambda o, t: ((o[0] - t) ** 2).mean(1)


@bring("data parallel", "a model inside a wrapper", terms=cross_entropy_terms)
def _() -> Problem:
    return nn.DataParallel(net()), ragged(*classes()), "cross_entropy"


@bring("left in training mode", "a model with dropout that nobody called eval() on", terms=cross_entropy_terms)
def _() -> Problem:
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3))
    return seeded(model).train(), ragged(*classes()), "cross_entropy"


def seeded(model: nn.Module) -> nn.Module:
    """The model with the same weights each time."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * numbers(*parameter.shape, seed=parameter.numel()))
    return model
