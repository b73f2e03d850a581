"""`--dry-run`: the plan of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gate_folders import Captured

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_a_dry_run_prints_the_plan_and_writes_nothing(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "--dry-run"]) == 0
    out = capsys.readouterr().out
    for word in (
        "parameters",
        "310",
        "basis",
        "micro-batch",
        "memory",
        "time",
        "checks",
        "slope (3 gradients of a few",
    ):
        assert word in out
    assert os.listdir() == ["mlp.pt"]
