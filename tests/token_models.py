"""Small models of tokens, data for them, and the linear layers of a model that can be measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.choices import Labels
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.kfac import Factor, assemble_factors, stream_factors
from landscape.evaluation.layers.layer_selection import measurable_layers
from landscape.network.linear_maps import LinearMap, linear_maps

Data = tuple[Tensor, Tensor]


class Tokens(nn.Module):
    """Five tokens a sample, mixed with each other, with a class for each; q and k share their input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.q, self.k, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed = (self.q(x) @ self.k(x).transpose(1, 2)).tanh() @ self.q(x)
        out: Tensor = self.out(mixed)
        return out


def labeled_tokens(generator: torch.Generator) -> Data:
    """Features `(12, 5, 4)` and a class for each token; one sample, and two tokens of another, are ignored."""
    x, y = torch.randn(12, 5, 4, generator=generator), torch.randint(0, 3, (12, 5), generator=generator)
    y[2, 3:] = -100
    y[7] = -100
    return x, y


class Texts(nn.Module):
    """Eleven token ids in, logits of the next token out, causal by a running mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.tokens, self.hidden, self.head = nn.Embedding(7, 4), nn.Linear(4, 6), nn.Linear(6, 7)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        mean = x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None]
        out: Tensor = self.head(self.hidden(mean + x).tanh())
        return out


def next_tokens(generator: torch.Generator) -> Data:
    """Token ids `(9, 11)` and the next token of each; the end of one text is ignored."""
    ids = torch.randint(0, 7, (9, 12), generator=generator)
    targets = ids[:, 1:].clone()
    targets[3, 6:] = -100
    return ids[:, :-1], targets


def layers(objective: Objective) -> list[LinearMap]:
    """The linear layers of the objective's model that can be measured."""
    return measurable_layers(objective, linear_maps(objective.model, objective.space.names)[0])[0]


def collected(objective: Objective, labels: Labels = "exact", **settings: Any) -> dict[str, Factor]:
    """The factors of all layers, by name."""
    found = layers(objective)
    *_, (_, _, sums) = stream_factors(objective, found, FactorSettings(labels, **settings), {})
    return assemble_factors(found, sums)
