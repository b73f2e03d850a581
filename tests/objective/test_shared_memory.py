"""A loaded model shares the memory of theta, and an earlier objective keeps its own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import landscape
from landscape.objective.shared_memory import give_up, take_back

FACTORY = """
import torch
from torch import nn

MODEL = nn.Linear(3, 2)
NORMALIZED = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
NORMALIZED[2].bias.requires_grad_(False)

def build():
    return MODEL  # always the same

def build_normalized():
    return NORMALIZED

def data():
    torch.manual_seed(1)
    return [(torch.randn(5, 3), torch.arange(5) % 2)]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "singleton_model.py").write_text(FACTORY)
    for name, scale in (("a", 1.0), ("b", 2.0)):
        torch.save({"weight": scale * torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / f"{name}.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_normalized(seed: int, **named: Any) -> landscape.Objective:
    torch.manual_seed(seed)
    shapes = {"0.weight": (4, 3), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
    state = {name: torch.rand(shape) for name, shape in shapes.items()}
    state |= {
        "1.running_mean": torch.rand(4),
        "1.running_var": 1 + torch.rand(4),
        "1.num_batches_tracked": torch.ones(()),
    }
    torch.save(state, f"{seed}.pt")
    place = "singleton_model.py"
    about = {"model": f"{place}:build_normalized", "data": f"{place}:data", "loss": "cross_entropy"}
    return landscape.load(f"{seed}.pt", **about, **named)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("named", [{}, {"params": ("0.*",)}, {"weights_dtype": "bfloat16"}, {"dtype": "float64"}])
def test_buffers_and_frozen_parameters_of_an_earlier_objective_stay_too(named: dict[str, Any]) -> None:
    first = load_normalized(1, **named)
    before = float(first.value())
    second = load_normalized(2, **named)
    assert float(first.value()) == before != float(second.value())


def load(name: str, dtype: str = "float32") -> landscape.Objective:
    place = "singleton_model.py"
    return landscape.load(f"{name}.pt", model=f"{place}:build", data=f"{place}:data", loss="cross_entropy", dtype=dtype)


@pytest.mark.usefixtures("files")
def test_a_model_that_a_factory_returns_again_leaves_the_earlier_objective_alone() -> None:
    first = load("a")
    weights, loss = first.theta.clone(), float(first.value())
    second = load("b")
    assert torch.equal(first.theta, weights)
    assert float(first.value()) == loss
    assert torch.equal(second.theta[:6], 2 * weights[:6])


@pytest.mark.usefixtures("files")
def test_the_weights_of_a_loaded_model_are_in_memory_once_and_those_of_a_given_model_twice() -> None:
    objective = load("a")
    assert objective.model.weight.data_ptr() == objective.theta.data_ptr()
    assert load("a", "float64").model.weight.dtype == torch.float32
    model = nn.Linear(3, 2)
    mine = landscape.Objective(model, (torch.randn(5, 3), torch.arange(5) % 2), "cross_entropy")
    assert model.weight.data_ptr() != mine.theta.data_ptr()


def test_a_parameter_of_another_precision_stays_where_it_is() -> None:
    layer = nn.Linear(3, 2)
    place = layer.weight.data_ptr()
    give_up(layer.weight, torch.zeros(2, 3, dtype=torch.float64))
    assert layer.weight.data_ptr() == place
    part = layer.weight.detach().clone()
    give_up(layer.weight, part)
    take_back(layer)
    assert layer.weight.data_ptr() not in (place, part.data_ptr())
    assert torch.equal(layer.weight, part)
