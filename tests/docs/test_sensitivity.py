"""The commands and the code of docs/sensitivity.md run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from page_blocks import run_blocks

PAGE = (ROOT / "docs" / "sensitivity.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sample_checkpoints").mkdir()
    (tmp_path / "sample_checkpoints" / "digits-mlp.pt").write_bytes((SAMPLES / "digits-mlp.pt").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run_blocks(PAGE, lambda words: [*words, "--no-plot", "--limit", "64", "--sample-groups", "4"]) == 4
    document = json.loads(Path("budget.allocation.json").read_text())
    (shown,) = [json.loads(part.partition("```")[0]) for part in PAGE.split("```json\n")[1:]]
    assert shown.keys() <= document.keys()
    assert shown["allocation"].keys() == document["allocation"].keys()
    assert shown["tensors"].keys() == document["tensors"].keys()
    assert "0 8 bits" in capsys.readouterr().out
