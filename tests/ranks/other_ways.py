"""A script for ranks: the gradient of a model that runs other modules, or differentiates others, on one of them."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from landscape.compute import ranks
from landscape.objective.sharded.objective import ShardedObjective


class Detached(nn.Module):
    """A layer that some samples do not differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        logits: Tensor = self.head(torch.tanh(hidden if bool((x[:, 0] > 0).any()) else hidden.detach()))
        return logits


class Routed(nn.Module):
    """A layer of another size for some samples."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small, self.head = nn.Linear(5, 50), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.large(x)[:, :5] if bool((x[:, 0] > 0).any()) else self.small(x)
        logits: Tensor = self.head(torch.tanh(hidden))
        return logits


ranks.join()
torch.manual_seed(0)
inputs = torch.ones(4, 5)
model = {"Detached": Detached, "Routed": Routed}[sys.argv[1]]()
objective = ShardedObjective(model, (inputs, torch.arange(4) % 3), "cross_entropy", micro_batch=2)
assert objective.batches.whole is not None
objective.batches.whole.inputs[2:] *= -1  # the samples of the second rank
objective.value_and_gradient()
