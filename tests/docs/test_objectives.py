"""The page of objectives runs as it stands."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "objectives.md").read_text()


def test_every_block_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples = tmp_path / "sample_checkpoints"
    samples.mkdir()
    for name in ("digits-mlp.pt", "digits-resnet.pt"):
        shutil.copy(ROOT / "sample_checkpoints" / name, samples)
    commands = 0
    for language, text in re.findall(r"^```(python|bash)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        if language == "python":
            name = re.match(r"# (\w+\.py)", text)
            assert name is not None
            Path(name[1]).write_text(text)
            continue
        for words in map(shlex.split, text.splitlines()):
            commands += 1
            if words[0] == "python":
                runpy.run_path(words[1], run_name="__main__")
            else:
                limit = ["--limit", "64"] if "train" in words else []
                assert status([*words[1:], *limit, "--no-plot"] if words[1] != "measures" else words[1:]) == 0, words
    assert commands == 8
