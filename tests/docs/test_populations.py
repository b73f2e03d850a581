"""The commands of docs/populations.md run, and write what the page names."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from page_blocks import run_blocks

import landscape

PAGE = (ROOT / "docs" / "populations.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_checkpoints").mkdir()
    (tmp_path / "sample_checkpoints" / "digits-mlp.pt").write_bytes((SAMPLES / "digits-mlp.pt").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run_blocks(PAGE, lambda words: [*words, "--no-plot", "--limit", "100"]) == 4
    results = landscape.read("by-class.landscape.h5")
    for name in ("eig", "trace", "sharpness", "measures"):
        assert len(results[name].population) == 10
    named = {word for line in PAGE.splitlines() for word in line.split("`") if word.startswith("population_")}
    fields = {name for one in ("eig", "trace", "sharpness", "measures") for name in results[one].to_dict()}
    assert {word.partition("(")[0] for word in named} <= fields
