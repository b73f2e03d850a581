"""Tensors that share bytes are found; neighbors in one memory, and tied parameters, are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.network.memory_overlap import overlapping

DATA = (torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4)


def test_bytes_in_common_are_found_and_neighbors_are_not() -> None:
    flat = torch.zeros(10)
    assert overlapping({"a": flat[:4], "b": flat[4:], "c": torch.zeros(3)}) == []
    assert overlapping({"a": flat[:5], "b": flat[4:]}) == [("a", "b")]
    assert overlapping({"a": flat, "b": flat[2:3]}) == [("a", "b")]
    assert overlapping({"a": torch.zeros(0), "b": torch.zeros(0)}) == []


def test_weights_that_share_memory_are_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight.data)
    with pytest.raises(TaskError, match=r"share memory: 0.weight and 1.weight\n.*\n.*one nn.Parameter"):
        Objective(model, DATA, "cross_entropy")


def test_a_buffer_in_the_memory_of_a_parameter_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_buffer("copy", model[0].weight.data)
    with pytest.raises(TaskError, match="share memory: 0.(weight and 0.copy|copy and 0.weight)"):
        Objective(model, DATA, "cross_entropy")


def test_buffers_may_share_memory_with_each_other() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    shared = torch.arange(4.0)
    model[0].register_buffer("one", shared[:3])
    model[0].register_buffer("other", shared)
    assert Objective(model, DATA, "cross_entropy").theta.numel() == 20


def test_tied_parameters_are_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert Objective(model, DATA, "cross_entropy").theta.numel() == 24
