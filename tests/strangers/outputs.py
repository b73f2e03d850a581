"""Outputs that are probabilities, distributions, or containers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stranger import (
    Problem,
    binary_terms,
    bring,
    classes,
    cross_entropy_terms,
    net,
    numbers,
    ragged,
    squared_terms,
)


@bring("softmax outputs, no loss named", "classifiers that end in softmax", clause="C7", expect="refused")
def _() -> Problem:
    return net(3, nn.Softmax(-1)), ragged(*classes()), None


@bring(
    "log-softmax outputs, no loss named",
    "classifiers that end in log-softmax",
    clause="C7",
    terms=lambda o, t: (functional.nll_loss(o, t, reduction="sum"), len(t)),
)
def _() -> Problem:
    return net(3, nn.LogSoftmax(-1)), ragged(*classes()), None


@bring(
    "softmax outputs, cross_entropy named",
    "a softmax too many",
    clause="C7",
    expect="refused",
    terms=cross_entropy_terms,
    says="softmax|probabilit",
)
def _() -> Problem:
    return net(3, nn.Softmax(-1)), ragged(*classes()), "cross_entropy"


@bring(
    "sigmoid outputs, bce named",
    "a sigmoid too many",
    clause="C7",
    expect="refused",
    terms=binary_terms,
    says="sigmoid|probabilit",
)
def _() -> Problem:
    x, y = classes(count=2)
    return net(1, nn.Sigmoid()), ragged(x, y[:, None].float()), "bce"


@bring(
    "BCELoss on sigmoids",
    "torch's loss of probabilities",
    terms=lambda o, t: (functional.binary_cross_entropy(o, t, reduction="sum"), t.numel()),
)
def _() -> Problem:
    x, y = classes(count=2)
    return net(1, nn.Sigmoid()), ragged(x, y[:, None].float()), nn.BCELoss()


@bring("variational autoencoder, noise in the data", "a fixed draw of the noise")
def _() -> Problem:
    def elbo(output: Any, target: Tensor) -> Tensor:
        image, mean, log_variance = output
        rest = ((image - target) ** 2).sum(1)
        return rest + 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1)

    x, noise = numbers(20, 5), numbers(20, 2, seed=4)
    return Variational(), [((a, b), a) for a, b in ragged(x, noise, sizes=(8, 8, 4))], elbo


class Variational(nn.Module):
    """Encoder, a draw, decoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.encode, self.decode = nn.Linear(5, 4), nn.Linear(2, 5)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Any:
        mean, log_variance = self.encode(x).chunk(2, dim=-1)
        noise = torch.randn_like(mean) if noise is None else noise
        return self.decode(mean + noise * (log_variance / 2).exp()), mean, log_variance


@bring("variational autoencoder", "noise drawn in forward", expect="refused", clause="C5")
def _() -> Problem:
    x = numbers(20, 5)
    return Variational(), ragged(x, x, sizes=(8, 8, 4)), lambda o, t: ((o[0] - t) ** 2).mean(1)


@bring("distillation", "KL to a teacher's probabilities")
def _() -> Problem:
    def divergence(output: Tensor, target: Tensor) -> Tensor:
        return functional.kl_div(output.log_softmax(-1), target, reduction="batchmean")

    return net(), ragged(numbers(23, 5), numbers(23, 3, seed=2).softmax(-1)), divergence


@bring("Gaussian likelihood", "nets that predict a variance")
def _() -> Problem:
    def likelihood(output: Tensor, target: Tensor) -> Tensor:
        return functional.gaussian_nll_loss(output[:, 0], target, functional.softplus(output[:, 1]) + 0.1)

    return net(2), ragged(numbers(23, 5), numbers(23, seed=2)), likelihood


@bring("hinge", "margins, with kinks")
def _() -> Problem:
    def margin(output: Tensor, target: Tensor) -> Tensor:
        right = output.gather(1, target[:, None])
        return functional.relu(1 - right + output).sum(1) - 1  # the right class counts 1

    return net(), ragged(*classes()), margin


@bring("quantile loss", "forecasts, with kinks")
def _() -> Problem:
    def pinball(output: Tensor, target: Tensor) -> Tensor:
        gap = target - output
        return torch.maximum(0.9 * gap, -0.1 * gap).mean()

    return net(1), ragged(numbers(23, 5), numbers(23, 1, seed=2)), pinball


@bring("Huber", "robust regression", terms=lambda o, t: (functional.huber_loss(o, t, reduction="sum"), t.numel()))
def _() -> Problem:
    return net(2), ragged(numbers(23, 5), 2 * numbers(23, 2, seed=2)), nn.HuberLoss()


@bring("mean squared error", "regression", terms=squared_terms)
def _() -> Problem:
    return net(2), ragged(numbers(23, 5), numbers(23, 2, seed=2)), nn.MSELoss()


@bring("sum for a mean", "a loss that returns a sum", clause="C8", expect="refused", alone=False)
def _() -> Problem:
    return net(), ragged(*classes()), lambda o, t: functional.cross_entropy(o, t, reduction="sum")


@bring("boxes and labels", "detectors: outputs in a list of dictionaries")
def _() -> Problem:
    def detection(output: Any, target: Any) -> Tensor:
        boxes = torch.stack([((one["boxes"] - want) ** 2).mean() for one, want in zip(output, target, strict=True)])
        scores = torch.stack([functional.softplus(-one["scores"]).mean() for one in output])
        return boxes + scores

    return Detector(), ragged(numbers(14, 5), numbers(14, 2, 4, seed=2), sizes=(5, 5, 4)), detection


class Detector(nn.Module):
    """Two boxes a sample, one dictionary a sample."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.net = nn.Linear(5, 10)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"boxes": row[:8].view(2, 4).sigmoid(), "scores": row[8:]} for row in self.net(x)]
