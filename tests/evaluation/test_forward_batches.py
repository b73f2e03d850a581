"""Batches of forward passes: the same samples in the same order, of the sizes and the layout that are asked for."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.compute import memory
from landscape.evaluation.forward_batches import data_batches, forward_batches

Data = tuple[Tensor, Tensor]


def ragged(data: Data) -> list[Data]:
    x, y = data
    return list(zip(x.split([10, 10, 4]), y.split([10, 10, 4]), strict=True))


def test_the_data_s_own_batches_are_in_the_working_precision(classification: Data) -> None:
    objective = Objective(tanh_net(), ragged(classification), "cross_entropy", dtype="float64")
    batches = list(data_batches(objective))
    assert sum(batch.size for batch in batches) == 24
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), classification[0].double())


def test_concatenated_data_are_cut_regardless_of_their_own_batches(classification: Data) -> None:
    objective = Objective(tanh_net(), ragged(classification), "cross_entropy")
    batches = list(forward_batches(objective, 9, channels_last=False))
    assert [batch.size for batch in batches] == [9, 9, 6]
    assert [batch.first for batch in batches] == [0, 9, 18]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), classification[0])


def test_without_a_size_they_are_the_micro_batches(classification: Data) -> None:
    objective = Objective(tanh_net(), ragged(classification), "cross_entropy", micro_batch=7)
    assert [batch.size for batch in forward_batches(objective, 0, channels_last=False)] == [7, 7, 7, 3]


def test_data_that_are_not_kept_come_in_the_objective_s_own_pieces(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    objective = Objective(tanh_net(), ragged(classification), "cross_entropy", micro_batch=8)
    assert [batch.size for batch in forward_batches(objective, 24, channels_last=False)] == [8, 2, 8, 2, 4]


def test_only_images_are_laid_out_channels_last() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    x, y = torch.randn(6, 2, 6, 6), torch.randint(0, 5, (6,))
    (batch,) = forward_batches(Objective(net, (x, y), "cross_entropy"), 6, channels_last=True)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    assert not batch.inputs.is_contiguous()
    assert torch.equal(batch.inputs, x)
    assert torch.equal(batch.targets, y)
