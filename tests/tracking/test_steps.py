"""The step of a checkpoint: by its name, or by what its file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLES

from landscape.errors import UsageError
from landscape.tracking.steps import Steps, step_in_file, step_in_name


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-0210.pt", 210),
        ("epoch_11.pth", 11),
        ("epoch=3-step=1200.ckpt", 1200),
        ("epoch=3-step=1200-v2.ckpt", 1200),
        ("epoch=7-v1.ckpt", 7),
        ("checkpoint-500", 500),
        ("resnet18_ep20.pth", 20),
        ("resnet18-iter300.safetensors", 300),
        ("model_v2_epoch_10.pt", 10),
        ("net.2000.pt", 2000),
        ("global_step4000", 4000),
        ("last.ckpt", None),
    ],
)
def test_names_of_the_trainers(name: str, step: int | None) -> None:
    assert step_in_name(Path("runs/2024-01-01") / name) == step


def saved(folder: Path, name: str, **entries: Any) -> Path:
    torch.save({"state_dict": {"weight": torch.zeros(1, 1)}, **entries}, folder / name)
    return folder / name


def test_files_say_their_step_by_the_finest_key(tmp_path: Path) -> None:
    path = saved(tmp_path, "last.ckpt", epoch=3, global_step=1200)
    assert step_in_file(path) == ("global_step", 1200.0)
    assert step_in_file(path, "epoch") == ("epoch", 3.0)
    assert step_in_file(saved(tmp_path, "other.pt", epoch="three", done=True)) is None
    (tmp_path / "broken.pt").write_text("no checkpoint")
    assert step_in_file(tmp_path / "broken.pt") is None


def test_all_steps_are_from_one_source(tmp_path: Path) -> None:
    named = [saved(tmp_path, f"epoch_{n}.pt", global_step=100 * n) for n in (2, 10)]
    assert [Steps(named).of(path) for path in named] == [2.0, 10.0]
    assert [Steps(named, "global_step").of(path) for path in named] == [200.0, 1000.0]
    alike = [saved(tmp_path, name, epoch=n) for n, name in enumerate(["best.pt", "last.pt"])]
    assert [Steps(alike).of(path) for path in alike] == [0.0, 1.0]
    bare = [saved(tmp_path, name) for name in ("a.pt", "b.pt")]
    places = Steps(bare)
    assert [places.of(path) for path in (*bare, bare[0])] == [0.0, 1.0, 0.0]
    assert Steps(bare).source == "place"


def test_a_description_of_itself_may_hold_the_step() -> None:
    path = SAMPLES / "digits-mlp-trajectory/step-0021.pt"
    assert step_in_file(path) == ("step", 21.0)
    assert step_in_file(path, "epoch") == ("epoch", 1.0)


def test_equal_numbers_in_names_tell_nothing(tmp_path: Path) -> None:
    paths = [saved(tmp_path, name, step=n) for n, name in ((5, "run1-a.pt"), (9, "run1-b.pt"))]
    assert [Steps(paths).of(path) for path in paths] == [5.0, 9.0]


def test_a_source_without_a_number_is_refused(tmp_path: Path) -> None:
    paths = [saved(tmp_path, "last.pt", epoch=1)]
    with pytest.raises(UsageError, match="has no number"):
        Steps(paths, "name").of(paths[0])
    with pytest.raises(UsageError, match="holds no number iteration"):
        Steps(paths, "iteration").of(paths[0])
