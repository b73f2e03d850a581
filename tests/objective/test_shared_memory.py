"""A loaded model shares the memory of theta, and an earlier objective keeps its own weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import landscape
from landscape.objective.shared_memory import give_up, take_back

FACTORY = """
import torch
from torch import nn

MODEL = nn.Linear(3, 2)

def build():
    return MODEL  # always the same

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
