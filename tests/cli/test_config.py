"""Settings: where they are found, what wins, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from landscape.errors import UsageError
from landscape_cli import config
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]
PROJECT = """
import torch
def build(width=3): return torch.nn.Linear(width, 2)
def data(): return [(torch.eye(3), torch.tensor([0, 1, 1]))]
"""
SETTINGS = """
checkpoint = "runs/ckpt.pt"
model = "code/model.py:build"
data = "code/model.py:data"
loss = "cross_entropy"
[eig]
k = 2
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("code", "runs", "deep/er"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "code/model.py").write_text(PROJECT)
    (tmp_path / "landscape.toml").write_text(SETTINGS)
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "runs/ckpt.pt")
    monkeypatch.chdir(tmp_path / "deep/er")
    return tmp_path


def measured(capsys: Captured, *arguments: str) -> int:
    assert status(["eig", "--json", "--no-plot", *arguments]) == 0
    return len(json.loads(capsys.readouterr().out)["result"]["eigenvalues"])


def test_a_configured_project_needs_no_argument_from_any_folder(project: Path, capsys: Captured) -> None:
    assert measured(capsys) == 2


def test_a_flag_beats_the_environment_which_beats_the_settings(
    project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDSCAPE_K", "3")
    assert measured(capsys) == 3
    assert measured(capsys, "-k", "4") == 4


def test_where_each_name_came_from_is_said(project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_LOSS", "cross_entropy")
    assert status(["eig", "--data", str(project / "code/model.py:data")]) == 0
    err = capsys.readouterr().err
    assert "build, from landscape.toml" in err
    assert "data, from a flag" in err
    assert "loss: cross_entropy, from the environment" in err


def test_pyproject_is_read_and_a_foreign_one_is_passed_over(project: Path, capsys: Captured) -> None:
    (project / "landscape.toml").unlink()
    (project / "deep/pyproject.toml").write_text("[tool.other]\nx = 1")
    (project / "pyproject.toml").write_text("[tool.landscape]\n" + SETTINGS.replace("[eig]", "[tool.landscape.eig]"))
    assert measured(capsys) == 2


def test_settings_beside_the_checkpoint_are_not_obeyed(
    project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert status(["eig", str(project / "runs/ckpt.pt")]) == 2
    assert "does not say which" in capsys.readouterr().err
    assert status(["--config", str(project / "landscape.toml"), "eig", "--no-plot"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modell = 'mlp'", r"there is no setting modell \(did you mean model\?\)"),
        ("[eigg]\nk = 2", r"there is no command eigg \(did you mean eig\?\)"),
        ("k = 2", r"the setting k belongs to a command\n.*\[eig\]"),
        ("[eig]\nkay = 2", r"\[eig\] has no setting kay"),
        ("k = ", "is not TOML"),
    ],
    ids=["key", "table", "no-table", "key-in-table", "syntax"],
)
def test_a_mistake_in_the_settings_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "landscape.toml").write_text(text)
    with pytest.raises(UsageError, match=f"landscape.toml.*{message}"):
        config.find(str(tmp_path / "landscape.toml"))


def test_settings_beside_a_checkpoint_are_named_unless_they_are_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, nothing = tmp_path / "download", config.Settings()
    (folder / "inner").mkdir(parents=True)
    (folder / "landscape.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert config.unread_settings(folder / "a.pt", nothing) == folder / "landscape.toml"
    assert config.unread_settings(folder, nothing) == folder / "landscape.toml", "a checkpoint that is a directory"
    assert config.unread_settings(folder / "a.pt", config.Settings(folder / "landscape.toml")) is None
    assert config.unread_settings(tmp_path / "a.pt", nothing) is None
    monkeypatch.chdir(folder)
    assert config.unread_settings(Path("a.pt"), nothing) is None
    monkeypatch.chdir(folder / "inner")
    assert config.unread_settings(folder / "a.pt", nothing) is None, "found by searching upward"


def test_results_are_shown_whatever_the_settings_say(project: Path, capsys: Captured) -> None:
    assert status(["eig", "-k", "1", "--no-plot"]) == 0
    (project / "landscape.toml").write_text("not toml at all")
    (stored,) = project.rglob("*.landscape.h5")
    assert status(["show", str(stored)]) == 0
    assert "eigenvalues" in capsys.readouterr().out
    assert status(["eig", "-k", "1"]) == 2


def test_settings_that_an_editor_of_windows_has_marked_are_read(tmp_path: Path) -> None:
    path = tmp_path / "landscape.toml"
    path.write_bytes(b"\xef\xbb\xbf" + 'model = "modèle:build"'.encode())
    assert config.find(str(path)).values["model"] == "modèle:build"
