"""Units: every parameter has one, blocks are whole, and what no unit has is left over."""

from __future__ import annotations

import pytest
import repeating_models
import sharded_models
import torch
from torch import nn

from landscape.network.units import Unit, find_units


def units_of(model: nn.Module) -> tuple[Unit, ...]:
    parameters = list(model.parameters())
    return find_units(model, {id(p): n for n, p in enumerate(parameters)}, {})


@pytest.mark.parametrize("name", sharded_models.MODELS)
def test_every_parameter_has_a_unit(name: str) -> None:
    model = sharded_models.build(name)
    found = {index for unit in units_of(model) for index in unit.measured.values()}
    assert found == set(range(len(list(model.parameters()))))


def test_layers_are_units_and_the_rest_by_module() -> None:
    model = sharded_models.Language()
    *units, loose = units_of(model)
    kinds = [type(unit.module).__name__ for unit in units]
    assert kinds == ["Embedding", "TransformerEncoderLayer", "TransformerEncoderLayer", "Linear"]
    assert list(loose.measured) == ["positions"]
    assert units[0].measured["weight"] == units[3].measured["weight"]
    assert [unit.number for unit in units] == [1, 2, 3, 4]
    assert loose.number == 0


def test_a_module_with_parameters_of_its_own_holds_its_parts() -> None:
    *units, loose = units_of(sharded_models.Attention())
    assert [type(unit.module).__name__ for unit in units] == ["MultiheadAttention", "BatchNorm1d", "Linear"]
    assert "out_proj.weight" in units[0].measured
    assert not loose.measured


def test_a_tensor_shared_by_a_block_and_another_module_is_in_both() -> None:
    *units, _ = units_of(repeating_models.Stack())
    holders = [unit for unit in units if 2 in unit.measured.values()]
    assert len(holders) == 2


def test_fixed_parameters_are_told_apart() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    weight, bias, *rest = model.parameters()
    units = find_units(model, {id(weight): 0}, {id(p): n for n, p in enumerate([bias, *rest])})
    assert units[0].measured == {"weight": 0}
    assert units[0].fixed == {"bias": 0}
    assert units[1].measured == {}
    assert units[1].fixed == {"weight": 1, "bias": 2}


def test_a_module_without_parameters_is_no_unit() -> None:
    *units, loose = units_of(nn.Sequential(nn.Tanh(), nn.Linear(2, 2), nn.Dropout()))
    assert len(units) == 1
    assert not loose.measured
    assert not torch.is_tensor(loose.module)
