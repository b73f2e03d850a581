"""The code and the commands of docs/results.md run, and print what the page shows."""

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

PAGE = (ROOT / "docs" / "results.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for sample in ("digits-mlp.pt", "digits-mlp-trajectory/step-0840.pt"):
        shutil.copy(SAMPLES / sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("page.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)))
    runpy.run_path("page.py")
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    printed = capsys.readouterr().out
    assert re.sub(r"(\d\.\d{2})\d*", r"\1", shown) in re.sub(r"(\d\.\d{2})\d*", r"\1", printed)
    for commands in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in commands.splitlines():
            assert status(shlex.split(command)[1:]) == 0
    assert {"compared.md", "compared.png"} <= {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in tmp_path.glob("*.csv")} >= {
        "mlp.eig.rank.csv",
        "mlp.eig.iteration.rank.csv",
        "mlp.eig.csv",
    }
