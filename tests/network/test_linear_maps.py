"""Linear maps inside a model: rows, matrices, and weights that are left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape.network.linear_maps import linear_maps


class Conv(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(2, 3, 3, **options)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(x).tanh().mean(dim=(2, 3)))
        return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
        {"stride": 2, "dilation": 2},
        {"padding": (2, 1)},
    ],
    ids=str,
)
def test_the_rows_of_a_convolution_times_its_matrix_are_its_output(
    options: dict[str, Any], generator: torch.Generator
) -> None:
    from landscape.network.linear_maps import input_rows, output_rows

    net, x = Conv(**options), torch.randn(4, 2, 7, 6, generator=generator)
    (conv, _), _ = linear_maps(net, dict(net.named_parameters()))
    rows = input_rows(net.conv, x) @ conv.matrix(net.conv.weight).T
    assert net.conv.bias is not None
    assert torch.allclose(rows + net.conv.bias, output_rows(net.conv, net.conv(x)), atol=1e-5)
    assert torch.equal(conv.weight(conv.matrix(net.conv.weight)), net.conv.weight)


def test_tied_and_odd_weights_are_left_out_and_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.tokens.weight
            self.grouped = nn.Conv2d(4, 4, 1, groups=2)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.two.weight = self.one.weight

    net = Odd()
    found, left_out = linear_maps(net, dict(net.named_parameters()))
    assert [one.name for one in found] == ["one"]
    assert found[0].modules == (net.one, net.two)
    assert sorted(left_out) == ["grouped", "head", "normed"]
