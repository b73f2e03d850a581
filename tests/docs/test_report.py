"""The commands of docs/report.md run, and the page holds what docs/report.md says."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "report.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for sample in ("digits-mlp.pt", "digits-mlp-trajectory/step-0840.pt"):
        shutil.copy(SAMPLES / sample, tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    for commands in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for command in commands.splitlines():
            assert status(shlex.split(command)[1:]) == 0, command
    report, small = (Path(name).read_text(encoding="utf-8") for name in ("report.html", "small.html"))
    for part in ("Side by side", "Glossary", "Provenance", "How to reproduce"):
        assert part in report
    assert len(report) > len(small) + 1_000_000
    assert "eig.eigenvalues[0]" in Path("verdict.html").read_text(encoding="utf-8")


def test_the_expression_in_python_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (expression,) = re.findall(r"`(landscape\.report\.report\.report_page\(.*?\))`", PAGE)
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    assert status(["eig", str(SAMPLES / "digits-mlp.pt"), "-k", "1", "--limit", "50", "-o", "runs/"]) == 0
    Path("page.py").write_text(f"import landscape.report.report, landscape.report.sources\npage = {expression}\n")
    assert str(runpy.run_path("page.py")["page"]).startswith("<!DOCTYPE html>")
