"""Gradients and products in parts are compared with differences along every kind of parameter."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sharded_models
import torch
from torch import Tensor, nn

import landscape
from landscape.objective.sharded.objective import ShardedObjective


class Detached(nn.Module):
    """A factor whose gradient is cut off between modules: none of it is along the gradient."""

    def __init__(self, *, records: bool = True) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.records = records

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.records and torch.is_grad_enabled()):
            factor = self.second(x)
        logits: Tensor = self.head(torch.tanh(self.first(x)) * factor.detach())
        return logits


class Cube(torch.autograd.Function):
    """x^3, whose gradient is right and cannot be differentiated rightly."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return vector * 3 * x.detach() ** 2


class Cubed(nn.Linear):
    """A layer with such a function."""

    def forward(self, x: Tensor) -> Tensor:
        return Cube.apply(super().forward(x))  # type: ignore[no-untyped-call]


CUT = "the gradient is not the derivative of the loss|the second derivative is not that of the gradient"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Detached, CUT),
        (lambda: Detached(records=False), CUT),
        (lambda: nn.Sequential(Cubed(5, 4), nn.Linear(4, 3)), "the second derivative is not that of the gradient"),
    ],
    ids=["detached", "no-grad", "second-derivative"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_that_are_none_are_found(model: Any, words: str, dtype: str) -> None:
    torch.manual_seed(2)
    objective = ShardedObjective(model(), (sharded_models.REALS, sharded_models.LABELS), "cross_entropy", dtype=dtype)
    assert re.search(words, str(landscape.run(landscape.Eig(k=1), objective).trouble()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sharded_models.MODELS)
def test_right_derivatives_hold(name: str, dtype: str) -> None:
    data = sharded_models.MODELS[name][1]
    objective = ShardedObjective(sharded_models.build(name), data, "cross_entropy", dtype=dtype)
    result = landscape.run(landscape.Eig(k=1), objective)
    assert all(finding.verdict == "holds" for finding in result.checks), result.checks


def test_rows_that_pad_have_no_derivative() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, 4, padding_idx=3), nn.Flatten(), nn.Linear(24, 3))
    tokens = sharded_models.TOKENS.clone()
    tokens[:, 0] = 3
    objective = ShardedObjective(model, (tokens, sharded_models.LABELS), "cross_entropy", dtype="float64")
    assert not landscape.run(landscape.Eig(k=1), objective).trouble()
