"""`landscape check --calibrate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_folders import FAST, LAMBDA, Captured, save_checkpoint

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_calibration_tells_the_smallest_change_that_is_seen(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", *FAST, "--metric", "sharpness.s_avg[0]", "--calibrate", "3"]) == 0
    out = capsys.readouterr().out
    assert "spread" in out
    assert "other seed" in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("mlp.pt")]
    assert [row[1] for row in rows] == [LAMBDA, "sharpness.s_avg[0]"]
    assert not Path("landscape-baseline.json").exists()


def test_calibration_of_what_has_no_number_is_inconclusive(capsys: Captured) -> None:
    save_checkpoint("mlp.pt", float("nan"))
    assert status(["check", "mlp.pt", *FAST, "--calibrate", "2"]) in (2, 3)
    save_checkpoint("mlp.pt")
    Path("landscape.toml").write_text("[check.eig]\nmax_products = 2\n")
    assert status(["check", "mlp.pt", *FAST, "--calibrate", "2"]) == 3
    assert "eigenvalues converged" in capsys.readouterr().out


def test_calibration_of_retrained_checkpoints(capsys: Captured) -> None:
    paths = [save_checkpoint(f"{seed}.pt", 1.0, seed) for seed in range(3)]
    assert status(["check", *paths, *FAST, "--kind", "retrained", "--calibrate", "2"]) == 0
    assert "3 checkpoints" in capsys.readouterr().out
    assert status(["check", paths[0], *FAST, "--kind", "retrained", "--calibrate", "2"]) == 2
