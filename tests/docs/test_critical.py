"""The commands and the code of docs/critical.md run."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "critical.md").read_text()
FEW = ["--limit", "200"]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tmp_path / "sample_checkpoints"
    samples.mkdir()
    for name in ("digits-resnet.pt", "digits-mlp.pt"):
        shutil.copy(SAMPLES / name, samples)
    (samples / "digits-mlp-trajectory").mkdir()
    for step in ("step-0084.pt", "step-0210.pt"):
        shutil.copy(SAMPLES / "digits-mlp-trajectory" / step, samples / "digits-mlp-trajectory")
    monkeypatch.chdir(tmp_path)
    for commands in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in commands.splitlines():
            if "edge/" in command:  # the page of the example trains that run
                continue
            assert status([*shlex.split(command)[1:], *FEW]) == 0, command
    Path("page.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)))
    capsys.readouterr()
    runpy.run_path("page.py")
    assert re.match(r"[\d.]+ \[ *[\d.]+ +[\d.]+\] [\d.]+ \d+\n", capsys.readouterr().out)
