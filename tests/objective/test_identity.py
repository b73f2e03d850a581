"""What decides a result: each part of an objective changes its own entry, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective

Data = tuple[Tensor, Tensor]


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        ({}, set()),
        ({"dtype": "float64"}, {"dtype", "weights"}),
        ({"params": ("0.*",)}, {"parameters"}),
        ({"weight_decay": 0.1}, {"loss"}),
        ({"mode": "train"}, {"mode"}),
        ({"limit": 10}, {"data"}),
        ({"micro_batch": 5}, set()),
    ],
)
def test_each_part_has_its_entry(changes: dict[str, Any], entries: set[str], classification: Data) -> None:
    first = Objective(tanh_net(), classification, "cross_entropy").identity()
    other = Objective(tanh_net(), classification, "cross_entropy", **changes).identity()
    assert {name for name in first.keys() | other.keys() if first.get(name) != other.get(name)} == entries


def test_weights_and_data_have_their_entries(classification: Data) -> None:
    x, y = classification
    first = Objective(tanh_net(), (x, y), "cross_entropy").identity()
    model = tanh_net()
    with torch.no_grad():
        model[0].bias[0] += 1
    moved = Objective(model, (x, y), "cross_entropy").identity()
    assert {name for name in first if first[name] != moved[name]} == {"weights"}
    doubled = Objective(tanh_net(), (2 * x, y), "cross_entropy").identity()
    assert {name for name in first if first[name] != doubled[name]} == {"data"}
