"""Further checkpoints of a run are what they would be if each were loaded alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLES

import landscape
from landscape.conditions import Conditions
from landscape.errors import CheckpointError
from landscape.loading import other_checkpoint
from landscape.loading.other_checkpoint import CheckpointLoader
from landscape.zoo import mlp

RUN = sorted((SAMPLES / "digits-mlp-trajectory").glob("*.pt"))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The checkpoints that are loaded as if they were the first, as they are."""
    whole: list[Path] = []

    def load(path: Path, *arguments: Any, **named: Any) -> Any:
        whole.append(path)
        return landscape.load(path, *arguments, **named)

    monkeypatch.setattr(other_checkpoint, "load", load)
    return whole


def assert_same(one: landscape.Objective, other: landscape.Objective) -> None:
    assert one.reference == other.reference
    assert one.identity() == other.identity()
    assert one.source == other.source


def test_the_model_and_the_data_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counted(monkeypatch)
    loader = CheckpointLoader(Conditions(limit=60))
    for path in RUN[:3]:
        found = loader.load(path)
        assert found.reference == landscape.load(path, limit=60).reference
        assert found.identity() == landscape.load(path, limit=60).identity()
        assert (found.source.path, found.source.sha256) == (path, landscape.load(path, limit=60).source.sha256)
    assert whole == RUN[:1]


def test_data_in_the_files_that_differ_are_those_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counted(monkeypatch)
    for number, scale in enumerate((1.0, 1.0, 2.0)):
        torch.manual_seed(number)
        data = scale * torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
        spec = {"model": "mlp", "model_args": {"sizes": [3, 2]}}
        landscape.save(tmp_path / f"{number}.pt", mlp([3, 2]), data=data, loss="cross_entropy", spec=spec)
    loader = CheckpointLoader(Conditions())
    for number in range(3):
        path = tmp_path / f"{number}.pt"
        assert_same(loader.load(path), landscape.load(path))
    assert [path.name for path in whole] == ["0.pt", "2.pt"]


def test_another_architecture_is_loaded_whole_and_a_broken_file_refused(tmp_path: Path) -> None:
    for name, sizes in (("a.pt", [3, 2]), ("b.pt", [3, 4, 2])):
        data = torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
        landscape.save(
            tmp_path / name,
            mlp(sizes),
            data=data,
            loss="cross_entropy",
            spec={"model": "mlp", "model_args": {"sizes": sizes}},
        )
    loader = CheckpointLoader(Conditions())
    assert loader.load(tmp_path / "a.pt").space.size == 8
    assert loader.load(tmp_path / "b.pt").space.size == 26
    (tmp_path / "c.pt").write_text("no checkpoint")
    with pytest.raises(CheckpointError):
        loader.load(tmp_path / "c.pt")
