"""An objective of sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.planning.meta_objective import MetaObjective


def build() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def meta(**options: object) -> MetaObjective:
    with torch.device("meta"):
        sample = Batch(torch.zeros(1, 6), torch.zeros(1, dtype=torch.long))
        return MetaObjective(build(), sample, 10, "cross_entropy", **options)  # type: ignore[arg-type]


def test_sizes_are_those_of_the_objective_with_numbers() -> None:
    real = Objective(build(), (torch.randn(10, 6), torch.zeros(10, dtype=torch.long)), "cross_entropy")
    planned = meta()
    assert planned.space == real.space
    assert planned.theta.nbytes == real.theta.nbytes
    assert planned.batches.samples == 10
    assert planned.loss == real.loss
    assert planned.sample_cost is not None
    assert planned.sample_cost.output_bytes == 3 * 4
    assert planned.outputs_width == 3


def test_parameters_are_selected_as_in_an_objective() -> None:
    assert meta(params=("0.*",)).space.size == 6 * 8 + 8
    with pytest.raises(UsageError, match="no trainable parameter matches --params"):
        meta(params=("7.*",))


def test_double_precision_takes_twice_the_bytes() -> None:
    assert meta(dtype="float64").theta.nbytes == 2 * meta().theta.nbytes
