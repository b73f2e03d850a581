"""The commands and the code of docs/llc.md run."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from page_blocks import run_blocks

PAGE = (ROOT / "docs" / "llc.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sample_checkpoints").mkdir()
    (tmp_path / "sample_checkpoints" / "digits-mlp.pt").write_bytes((SAMPLES / "digits-mlp.pt").read_bytes())
    monkeypatch.chdir(tmp_path)
    quick = ["--no-plot", "--limit", "50", "--gamma", "3000", "--rtol", "1"]  # chains of a tight Gaussian are fast
    assert run_blocks(PAGE, lambda words: [*words, *quick]) >= 2
    assert "95 % interval" in capsys.readouterr().out
