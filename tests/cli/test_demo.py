"""The first look: every command of it ends well, its pictures are there, and its story is true."""

from __future__ import annotations

from pathlib import Path

import pytest

import landscape
from landscape_cli.demo import STEPS
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


def test_five_commands_run_and_sam_is_flatter_at_the_same_loss(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "demo"
    assert status(["demo", str(folder)]) == 0
    out = capsys.readouterr().out
    assert [line[2:] for line in out.splitlines() if line.startswith("$ ")] == [
        f"landscape {words}" for _, words in STEPS
    ]
    pictures = {path.name for path in folder.glob("*.png")}
    assert {"sgd.eig.png", "sam.sharpness.png", "sgd.surface.png", "both.png"} <= pictures
    sgd, sam = (landscape.read(folder / f"{name}.landscape.h5").eig for name in ("sgd", "sam"))
    assert sam.loss == pytest.approx(sgd.loss, rel=0.03)
    assert sam.eigenvalues[0] == pytest.approx(2 / 3 * sgd.eigenvalues[0], rel=0.05)


def test_a_folder_with_files_is_left_alone(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert status(["demo", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_settings_of_the_folder_around_do_not_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "landscape.toml").write_text('model = "missing.py:build"\nloss = "mse"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("landscape_cli.demo.STEPS", (("Sharpness.", "eig sgd.pt -k 1 --no-plot"),))
    assert status(["demo"]) == 0
    assert "converged" in capsys.readouterr().out


def test_the_exit_code_is_that_of_the_first_command_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape_cli.demo.STEPS", (("Nothing is there.", "show missing.landscape.h5"),))
    assert status(["demo", str(tmp_path / "new")]) == 2
