"""The same model and weights on a part of the data, or on other data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective

Data = tuple[Tensor, Tensor]


def test_a_part_has_its_own_reference(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole = objective.reference.loss
    parts = list(objective.parts(10))
    assert [part.count for part in parts] == [10, 10, 4]
    assert [part.batches.samples for part in parts] == [10, 10, 4]
    losses = [part.reference.loss for part in parts]
    assert sum(part.count * loss for part, loss in zip(parts, losses, strict=True)) / 24 == pytest.approx(whole)
    assert len({whole, *losses}) == 4


def test_parts_are_cut_across_batches_and_from_data_that_is_read_again(classification: tuple[Tensor, Tensor]) -> None:
    """A loader that fills one buffer again and again, and is not kept in memory."""
    x, y = classification

    class Loader:
        def __iter__(self) -> Any:
            inputs, targets = torch.empty(8, 5), torch.empty(8, dtype=torch.long)
            for first in (0, 8, 16):
                inputs.copy_(x[first : first + 8])
                targets.copy_(y[first : first + 8])
                yield inputs, targets

    objective = Objective(tanh_net(), Loader(), "cross_entropy", dtype="float64")
    loose = replace(objective.batches, source=Loader(), kept=False)
    vars(objective)["batches"] = loose
    kept = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    for one, other in zip(objective.parts(10), kept.parts(10), strict=True):
        assert float(one.value()) == pytest.approx(float(other.value()), rel=1e-12)
