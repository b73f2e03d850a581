"""`--dry-run`: the plan of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from configurations import write_config
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
    [
        "eig",
        "eig --per-layer",
        "trace",
        "diagonal",
        "diagonal --operator ggn",
        "density",
        "sharpness",
        "flatness",
        "surface",
        "measures",
        "direction",
        "sensitivity",
        "sensitivity --prune 0.5 --criterion saliency",
        "llc",
    ],
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
    counted = 3 * 12 + 100  # a gradient of 12 samples, and another look at layers, from which sizes follow
    assert passes.forward + 2 * passes.backward <= 2 * 3 * 100 + counted  # backward passes take as long as two forward
    assert "of which a micro-batch was timed" in capsys.readouterr().out


def test_a_configuration_alone_is_planned_for_other_devices(clean_folder: None, capsys: Captured) -> None:
    write_config(Path("net"))
    assert status(["eig", "net", "-k", "1", "--dry-run", "--on", "8x80GB"]) == 0
    out = capsys.readouterr().out
    for word in ("machine", "ranks", "theta", "vectors", "rate", "time", "counted, not measured", "8 x 80 GB"):
        assert word in out
    assert os.listdir("net") == ["config.json"]
    assert os.listdir() == ["net"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "1x80GB"], "--on 1x80GB plans for other devices, and measures on none"),
        (["--on", "many", "--dry-run"], "--on many names no devices"),
        (["--on", "1x80GB", "--dry-run", "--seq-len", "1000"], "--seq-len 1000 of a model with 48 positions"),
        (["--on", "1x80GB", "--dry-run", "--model", "hf:none"], "none has no config.json"),
    ],
    ids=["measured", "no-devices", "too-long", "no-configuration"],
)
def test_what_cannot_be_planned_for_other_devices_is_refused_in_words(
    words: list[str], message: str, clean_folder: None, capsys: Captured
) -> None:
    write_config(Path("net"))
    assert status(["eig", "net", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "fix:" in err
    assert "Traceback" not in err


def test_a_factory_needs_neither_a_file_of_weights_nor_memory(clean_folder: None, capsys: Captured) -> None:
    Path("net.py").write_text(
        "import torch\n"
        "def build(): return torch.nn.Sequential(torch.nn.Linear(5, 10**9), torch.nn.Linear(10**9, 3))\n"
        "def data(): return [(torch.zeros(4, 5), torch.zeros(4, dtype=torch.long))]\n"
    )
    task = ["--model", "net.py:build", "--data", "net.py:data", "--loss", "cross_entropy"]
    assert status(["eig", "none.pt", *task, "--dry-run", "--on", "1x80GB"]) == 0
    out = capsys.readouterr().out
    assert "9,000,000,003" in out
    assert "4 samples of net.py:data" in out
    assert "lie in host memory, and are gathered by block" in out


@pytest.mark.parametrize(
    ("command", "sizes"),
    [
        ("density", "8 probes x 64 steps, "),
        ("density --budget 0.01", "4 probes x 24 steps, "),
        ("density --steps 20", "8 probes x 20 steps, "),
        ("sharpness", "9 starts and 50 pairs at rho 0.2, 2 and 16 at 0.05, 0.1, 0.4, "),
        ("sharpness --budget 0.01", "5 starts and 16 pairs at rho 0.2, 2 and 16 at 0.1, 0.4, "),
        ("sharpness --rho 0.1", "9 starts and 50 pairs at rho 0.1, "),
        ("memorization", "2 draws of both controls, bands of all layers together and of each alone, "),
        ("memorization --budget 0.01", "1 draw of both controls, bands of all layers together, "),
        ("memorization --no-per-layer", "2 draws of both controls, bands of all layers together, "),
    ],
)
def test_a_dry_run_says_which_sizes_are_chosen_and_their_counted_cost(
    command: str, sizes: str, capsys: Captured
) -> None:
    assert status([*command.split(), str(SAMPLES / "digits-mlp.pt"), "--dry-run"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("sizes")]
    assert line.strip().removeprefix("sizes").strip().startswith(sizes)
    assert "counted seconds" in line
