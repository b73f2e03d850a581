"""Parameters without values tell their shape, and nothing that would be taken for a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import TaskError
from landscape.network.absent_weights import AbsentWeight, absent, take_values

CPU = torch.device("cpu")
READS: dict[str, Callable[[Any], Any]] = {
    "a product": lambda weight: functional.linear(torch.ones(2, 3), weight),
    "a sum": lambda weight: weight.sum(),
    "an operand": lambda weight: torch.ones(4, 3) + weight,
    "an entry": lambda weight: weight[0],
    "its data": lambda weight: weight.data,
    "its transpose": lambda weight: weight.T,
    "a copy": lambda weight: weight.detach().clone(),
    "numbers": lambda weight: weight.tolist(),
    "an embedding": lambda weight: functional.embedding(torch.tensor([0]), weight),
    "a write": lambda weight: weight.zero_(),
    "a target": lambda weight: torch.ones(4, 3).copy_(weight),
    "a list": lambda weight: torch.cat([torch.ones(1, 3), weight]),
}


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
@pytest.mark.parametrize("made", ["absent", "emptied"])
def test_whoever_reads_it_is_told_so(read: Callable[[Any], Any], made: str) -> None:
    parameter = nn.Parameter(torch.ones(4, 3))
    weight: Tensor = absent(parameter, CPU, torch.float64) if made == "absent" else parameter
    take_values(parameter)
    with pytest.raises(TaskError, match="a weight is read where the module that owns it does not run"):
        read(weight)


def test_it_tells_its_shape_and_takes_no_memory() -> None:
    parameter = nn.Parameter(torch.ones(4, 3, dtype=torch.float64), requires_grad=False)
    weight = absent(parameter, CPU, torch.float64)
    assert isinstance(weight, nn.Parameter)
    assert (weight.shape, weight.dtype, weight.requires_grad) == ((4, 3), torch.float64, False)
    assert (weight.numel(), weight.dim(), len(weight), weight.size(0)) == (12, 2, 4, 4)
    assert weight.is_floating_point()
    model = nn.Linear(3, 4, bias=False)
    model._parameters["weight"] = weight
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    take_values(parameter)
    assert isinstance(parameter, AbsentWeight)
    take_values(parameter)


def test_parameters_of_the_meta_device_tell_whoever_reads_them() -> None:
    parameter = nn.Parameter(torch.ones(2, device="meta"))
    take_values(parameter)
    with pytest.raises(TaskError, match="a weight is read where"):
        torch.ones(2) @ parameter


def test_it_has_the_dtype_of_the_measurement() -> None:
    parameter = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    assert absent(parameter, CPU, torch.float32).dtype == torch.float32
    whole = nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)
    assert absent(whole, CPU, torch.float32).dtype == torch.int64
