"""The commands and the code of docs/track.md run, and print what the page shows."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from gate_folders import Captured

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "track.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for step in (0, 84, 840):
        for run in ("run", "sam"):
            (tmp_path / run).mkdir(exist_ok=True)
            shutil.copy(SAMPLES / f"digits-mlp-trajectory/step-{step:04}.pt", tmp_path / run)
    monkeypatch.chdir(tmp_path)
    for commands in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in commands.splitlines():
            words = shlex.split(command)[1:]
            few = ["--limit", "60"] if words[0] == "track" else []
            again = ["--restart"] if words == ["track", "run", "sam"] else []
            assert status([*words, *few, *again]) == 0, command
    assert Path("run/track.csv").exists()
    assert Path("both.png").exists()
    capsys.readouterr()
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    Path("page.py").write_text(code)
    runpy.run_path("page.py")
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown in capsys.readouterr().out
