"""`landscape doctor`: lines for people, one JSON document for a bug report, exit code 2 if something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import SAMPLES

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_checkpoint_the_machine_is_checked(capsys: Captured) -> None:
    assert status(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert lines[-1] == "all well; no checkpoint is named, so that no model of yours was checked"


def test_with_a_checkpoint_its_model_is_checked_too(capsys: Captured) -> None:
    assert status(["doctor", str(SAMPLES / "digits-mlp.pt"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"]
    found = {check["name"]: check["found"] for check in document["checks"]}
    assert float(found["curvature of your model"].rpartition(" ")[2]) < 1e-6
    assert float(found["slope of your model"].rpartition(" ")[2]) < 1e-6


def test_what_is_wrong_is_told_with_its_remedy(capsys: Captured) -> None:
    assert status(["doctor", "none.pt"]) == 2
    out = capsys.readouterr().out
    assert "FAIL  your model: there is no file none.pt\n      fix:  check the path" in out
    assert out.endswith("failed: your model\n")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found(tmp_path: Path, capsys: Captured) -> None:
    tmp_path.chmod(0o500)
    try:
        assert status(["doctor"]) == 2
    finally:
        tmp_path.chmod(0o700)
    assert "FAIL  writing" in capsys.readouterr().out
