"""Squares of samples' gradients between eigenbases, against loops over samples and labels."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from token_models import layers
from torch import Tensor
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.per_sample.eigenbasis_squares import LayerBases, _by_sample, eigenbasis_squares


def rotation(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def test_squares_with_the_data_s_labels_are_those_of_a_loop(
    classification: tuple[Tensor, Tensor], split: Splitter
) -> None:
    x, y = classification
    objective = Objective(tanh_net(), split(x, y), "cross_entropy", dtype="float64")
    found_layers = layers(objective)
    bases = [LayerBases(rotation(one.outputs), rotation(one.inputs + 1)) for one in found_layers]
    found = eigenbasis_squares(objective, found_layers, bases, FactorSettings("gold"))
    net = tanh_net().double()
    wanted = [torch.zeros(one.outputs, one.inputs + 1, dtype=torch.float64) for one in found_layers]
    for inputs, label in zip(x.double(), y, strict=True):
        loss = functional.cross_entropy(net(inputs[None]), label[None])
        parts = torch.autograd.grad(loss, list(net.parameters()))
        for total, one, weight, bias in zip(wanted, bases, parts[::2], parts[1::2], strict=True):
            total += (one.left.T @ torch.cat([weight, bias[:, None]], dim=1) @ one.right).square() / 24
    for left, right in zip(found, wanted, strict=True):
        assert torch.allclose(left, right, rtol=1e-10)


def test_rows_without_a_sample_are_refused() -> None:
    with pytest.raises(TaskError, match="7 rows for 3 samples"):
        _by_sample(torch.zeros(7, 1, 2), 3)
