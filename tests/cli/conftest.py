"""Folders for the tests of commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import SAMPLES
from gate_folders import FAST, enter_clean_folder, save_checkpoint

from landscape_cli.main import status


@pytest.fixture
def clean_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory is an empty folder, and the environment has nothing for the command."""
    enter_clean_folder(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint whose lambda 1 is in the baseline."""
    folder = tmp_path_factory.mktemp("updated")
    with pytest.MonkeyPatch.context() as patch:
        enter_clean_folder(patch, folder)
        assert status(["check", save_checkpoint("mlp.pt"), "--update", *FAST]) == 0
    return folder


@pytest.fixture
def known(updated: Path, tmp_path: Path) -> str:
    """That checkpoint and its baseline in the working directory."""
    shutil.copytree(updated, tmp_path, dirs_exist_ok=True)
    return "mlp.pt"


@pytest.fixture
def ckpt(clean_folder: None) -> Path:
    """A small self-describing checkpoint in the working directory."""
    return Path(save_checkpoint("mlp.pt")).resolve()


@pytest.fixture
def folder_with_samples(clean_folder: None) -> None:
    """The working directory holds `a.pt` and the steps of its run, and no setting comes from the environment."""
    shutil.copy(SAMPLES / "digits-mlp.pt", "a.pt")
    shutil.copytree(SAMPLES / "digits-mlp-trajectory", "run")
