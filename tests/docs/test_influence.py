"""The page of influence runs as it stands, and so does the block of inverse products."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "influence.md").read_text()
OPERATORS = (ROOT / "docs" / "operators.md").read_text()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_checkpoints").mkdir()
    for name in ("digits-mlp.pt", "digits-noisy.pt"):
        shutil.copy(SAMPLES / name, tmp_path / "sample_checkpoints")
    monkeypatch.chdir(tmp_path)


def test_the_commands_of_the_page_run() -> None:
    lines = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        assert status(line.split()[1:]) == 0, line


@pytest.mark.parametrize("page", [PAGE, OPERATORS], ids=["influence", "operators"])
def test_the_python_of_the_page_runs(page: str) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    exec(source, {})  # noqa: S102
