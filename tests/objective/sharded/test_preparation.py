"""Models that would give something else a second time are refused: with weights in parts they run many times."""

from __future__ import annotations

import pytest
import sharded_models
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective.sharded.objective import ShardedObjective


class Remembers(nn.Module):
    """A model that keeps something of its first pass."""

    def __init__(self, kept: str) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.kept = kept
        self.mean: Tensor | None = None
        self.passes = 0
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.kept == "a mean":
            self.mean = x.detach().mean(dim=0) if self.mean is None else self.mean
            x = x - self.mean
        elif self.kept == "a count":
            x = x * (1 + 1 / self.passes)
        elif self.kept == "a buffer":
            x = x * (2 - self.calls)
            self.calls.fill_(1)
        logits: Tensor = self.second(torch.tanh(self.first(x)))
        return logits


def measured(kept: str) -> ShardedObjective:
    return ShardedObjective(Remembers(kept), (sharded_models.REALS, sharded_models.LABELS), "cross_entropy")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ("a mean", "depends on what it kept from earlier passes: mean"),
        ("a count", "depends on what it kept from earlier passes: passes"),
        ("a buffer", "it changes the buffer calls"),
    ],
)
def test_what_a_model_keeps_from_pass_to_pass_is_found(kept: str, words: str) -> None:
    with pytest.raises(LandscapeError, match=words) as caught:
        measured(kept)
    assert "buffer" not in kept or "would not give the same a second time" in str(caught.value)


def test_what_it_keeps_may_be_for_others() -> None:
    assert measured("nothing").model.passes > 0
