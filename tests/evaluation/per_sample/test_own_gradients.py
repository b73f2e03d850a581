"""Squares of sums of outer products by every formula, and which parameters have gradients of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.evaluation.per_sample import own_gradients
from landscape.evaluation.per_sample.own_gradients import find_gradients, outer_squares

SHAPES = {  # tokens, inputs, outputs: one token, few tokens of wide layers, many of narrow ones
    "one": (1, 7, 5),
    "by-pairs": (3, 40, 30),
    "by-products": (50, 4, 3),
}


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_every_formula_is_the_square_of_the_sum(
    shape: tuple[int, int, int], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_gradients, "OUTER_BYTES", chunk)
    tokens, q, p = shape
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, tokens, q, generator=generator, dtype=torch.float64)
    gradients = torch.randn(2, 6, tokens, p, generator=generator, dtype=torch.float64)
    expected = torch.einsum("kntp,ntq->knpq", gradients, inputs).square().sum(dim=(2, 3))
    torch.testing.assert_close(outer_squares(inputs, gradients), expected, rtol=1e-12, atol=0)


class Mixed(nn.Module):
    """Layers, a weight of its own, a module of two inputs, one weight in two norms, and a layer inside a holder."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.mixed, self.norm, self.other = nn.Bilinear(5, 5, 5), nn.LayerNorm(5), nn.LayerNorm(5)
        self.other.weight = self.norm.weight
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.other(self.norm(torch.tanh(self.first(x)))) * self.scale
        logits: Tensor = self.second(self.mixed(hidden, x))
        return logits


def test_parameters_of_modules_that_hold_them_alone_and_take_one_tensor() -> None:
    objective = Objective(Mixed(), (torch.randn(6, 5), torch.arange(6) % 3), "cross_entropy")
    found = [name for layer in find_gradients(objective) for name in layer.parameters]
    assert sorted(found) == ["first.bias", "first.weight", "norm.bias", "other.bias", "second.bias", "second.weight"]
