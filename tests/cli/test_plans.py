"""`--dry-run`: the plan of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import SAMPLES
from counted_passes import count_passes
from gate_folders import Captured
from torch import nn

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


@pytest.mark.parametrize(
    "command",
    ["eig", "eig --per-layer", "trace", "density", "sharpness", "flatness", "surface", "measures", "direction"],
)
def test_a_dry_run_costs_at_most_two_gradients_of_a_micro_batch(command: str, capsys: Captured) -> None:
    with count_passes(nn.Sequential) as passes:
        assert status([*command.split(), str(SAMPLES / "digits-mlp.pt"), "--dry-run", "--micro-batch", "64"]) == 0
    assert 0 < passes.forward <= 2 * 64
    assert 0 < passes.backward <= 2 * 64
    assert "of which a micro-batch was timed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["memorization", "edit --rho 0.9"])
def test_a_plan_of_layers_has_forward_passes_besides(command: str, capsys: Captured) -> None:
    with count_passes(nn.Sequential) as passes:
        assert status([*command.split(), str(SAMPLES / "digits-noisy.pt"), "--dry-run", "--micro-batch", "100"]) == 0
    assert passes.forward + 2 * passes.backward <= 2 * 3 * 100  # a backward pass takes as long as two forward passes
    assert "of which a micro-batch was timed" in capsys.readouterr().out
