"""Packages register models, data sets and losses by name; a checkpoint may use these names without the user's word."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import landscape
from landscape.errors import TaskError
from landscape.plugins import registry

CODE = """
import torch
def net(width=3):
    torch.manual_seed(0)
    return torch.nn.Linear(width, 2)
def batches():
    return [(torch.ones(4, 3), torch.zeros(4, 2))]
def cubed(output, target):
    return ((output - target).abs() ** 3).mean(dim=1)
"""
POINTS = """
[landscape.models]
house-net = house:net
mlp = house:net
broken = house:nosuch

[landscape.data]
house-data = house:batches

[landscape.losses]
cubed = house:cubed
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that registers its own."""
    (tmp_path / "house.py").write_text(CODE)
    about = tmp_path / "house-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: house\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "house", raising=False)
    return tmp_path


def test_names_inside_a_checkpoint_find_the_package_s_own(package: Path) -> None:
    spec = {"model": "house-net", "model_args": {"width": 3}}
    landscape.save(package / "a.pt", torch.nn.Linear(3, 2), data="house-data", loss="cubed", spec=spec)
    assert "house" not in sys.modules, "nothing is imported before it is used"
    objective = landscape.load(package / "a.pt")
    assert objective.space.size == 8
    assert objective.loss.name == "cubed"
    assert objective.source.resolved_from["model"] == "house-net, from the checkpoint's own description"


def test_the_user_may_name_them_too(package: Path) -> None:
    torch.save(torch.nn.Linear(5, 2).state_dict(), package / "a.pt")
    with pytest.raises(TaskError, match="mat1 and mat2 shapes"):
        landscape.load(package / "a.pt", model="house-net", model_arg=("width=5",), data="house-data", loss="mse")


def test_a_package_does_not_stand_in_for_the_zoo(package: Path) -> None:
    assert registry.load_entry("models", "mlp") is registry.MODELS["mlp"]


def test_a_package_that_fails_is_named(package: Path) -> None:
    with pytest.raises(
        TaskError, match=r"broken, which house registers, cannot be loaded: AttributeError.*\n.*uninstall"
    ):
        registry.load_entry("models", "broken")


def test_an_unknown_name_lists_them(package: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), package / "a.pt")
    with pytest.raises(TaskError, match=r"no model called hous-net \(did you mean house-net\?\)\n.*house-net"):
        landscape.load(package / "a.pt", model="hous-net", data="house-data")
