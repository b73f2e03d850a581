"""The page of objectives runs as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from page_blocks import run_blocks


def adapt(words: list[str]) -> list[str]:
    """A command with few samples in train mode, whose products take long."""
    return [
        *words,
        *([] if words[0] == "measures" else ["--no-plot"]),
        *(["--limit", "64"] if "train" in words else []),
    ]


def test_every_block_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples = tmp_path / "sample_checkpoints"
    samples.mkdir()
    for name in ("digits-mlp.pt", "digits-resnet.pt"):
        shutil.copy(ROOT / "sample_checkpoints" / name, samples)
    assert run_blocks((ROOT / "docs" / "objectives.md").read_text(), adapt) == 8
