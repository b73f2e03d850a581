"""The page of data runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from page_blocks import run_blocks


def test_every_block_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_blocks((ROOT / "docs" / "data.md").read_text()) == 8
