"""Where the gate's reports go."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_folders import FAST, LAMBDA, Captured, save_checkpoint

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_json_is_one_document(known: str, capsys: Captured) -> None:
    save_checkpoint("mlp.pt", 1.1)
    for flags in (["--json"], ["--format", "json"]):
        assert status(["check", known, *FAST, *flags]) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["exit_code"] == 1
        (verdict,) = document["verdicts"]
        assert (verdict["metric"], verdict["status"]) == (LAMBDA, "regression")
        assert verdict["change"] == pytest.approx(verdict["candidate"] / verdict["baseline"] - 1)


def test_a_report_replaces_the_earlier_one(known: str) -> None:
    for _ in range(2):
        assert status(["check", known, *FAST, "--format", "junit=report.xml"]) == 0
        assert ElementTree.parse("report.xml").getroot().get("tests") == "1"


def test_several_reports_go_to_several_places(known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    formats = [
        "--format",
        "github",
        "--format",
        "junit=report.xml",
        "--format",
        "markdown",
        "--format",
        "json=r.json",
    ]
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", known, *FAST, *formats]) == 1
    assert capsys.readouterr().out.startswith(f"::error title=landscape%3A {LAMBDA}::")
    suite = ElementTree.parse("report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert Path("summary.md").read_text().startswith("before\n### landscape check: 1 regression")
    assert json.loads(Path("r.json").read_text())["exit_code"] == 1


def test_a_page_of_verdicts_goes_to_stdout_or_into_a_file(known: str, capsys: Captured) -> None:
    assert status(["check", known, *FAST, "--format", "html"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("<!DOCTYPE html>")
    assert LAMBDA in printed
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", known, *FAST, "--format", "html=verdict.html", "--format", "text"]) == 1
    assert "regression" in Path("verdict.html").read_text(encoding="utf-8")
    assert "regression" in capsys.readouterr().out
    assert status(["check", known, *FAST, "--format", "html", "--format", "json"]) == 2


def test_text_in_a_file_has_the_table_too(known: str) -> None:
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", known, "missing.pt", *FAST, "--format", "text=verdict.txt"]) != 0
    lines = Path("verdict.txt").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.split()[:2] == ["mlp.pt", LAMBDA]]
    assert row.split()[-1] == "regression"
    assert any("there is no file" in line and "missing.pt" in line for line in lines)


def test_a_pipe_that_nobody_reads_is_an_error_and_one_that_is_read_gets_the_report(
    known: str, capsys: Captured
) -> None:
    os.mkfifo("pipe")
    assert status(["check", known, *FAST, "--format", "json=pipe"]) == 2
    assert "pipe cannot be written" in capsys.readouterr().err
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while status(["check", known, *FAST, "--format", "json=pipe"]) == 2 and time.monotonic() < deadline:
        time.sleep(0.1)  # until the reader has opened it
    assert json.loads(reader.communicate()[0])["exit_code"] == 0


def test_a_report_that_cannot_be_written_is_an_error(known: str, capsys: Captured) -> None:
    assert status(["check", known, *FAST, "--format", "junit=nowhere/r.xml"]) == 2
    assert "nowhere/r.xml cannot be written" in capsys.readouterr().err


def test_a_report_is_written_where_files_cannot_be_set_to_block(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where set_blocking is there for pipes alone."""

    def refuse(descriptor: int, blocking: bool) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.delattr(os, "O_NONBLOCK")
    monkeypatch.setattr(os, "set_blocking", refuse)
    assert status(["check", known, *FAST, "--format", "json=r.json"]) == 0
    assert json.loads(Path("r.json").read_text())["exit_code"] == 0
