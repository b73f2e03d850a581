"""The page of data runs as it stands."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "data.md").read_text()


def test_every_block_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
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
                assert status([*words[1:], "--no-plot"]) == 0, words
    assert commands == 8
