"""What a check compares: checkpoints, results and baselines, each known by its content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gate_folders import COMMAND, FAST, Captured, save_checkpoint

import landscape
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_stored_results_are_judged_without_torch(known: str, capsys: Captured) -> None:
    assert status(["check", known, *FAST]) == 0
    script = (
        "import sys\nfrom landscape_cli.main import status\n"
        "code = status(['check', '--from', 'mlp.check.landscape.h5', '--metric', 'eig.eigenvalues[0]'])\n"
        "sys.exit(code if 'torch' not in sys.modules and 'scipy.stats' not in sys.modules else 99)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 pass" in done.stdout


def test_stored_results_of_a_sharper_net_are_a_regression(known: str) -> None:
    save_checkpoint("sharp/mlp.pt", 1.1)
    assert status(["check", "sharp/mlp.pt", *FAST]) == 1
    assert status(["check", "--from", "sharp/mlp.check.landscape.h5", *FAST]) == 1


def test_the_settings_checkpoint_gives_way_to_stored_results(known: str) -> None:
    Path("landscape.toml").write_text('checkpoint = "missing.pt"\n')
    assert status(["check", known, *FAST]) == 0
    assert status(["check", "--from", "mlp.check.landscape.h5", *FAST]) == 0


def test_a_result_that_lacks_the_analysis_is_inconclusive(known: str, capsys: Captured) -> None:
    assert status(["direction", known, "-o", "d.h5"]) == 0
    assert status(["check", "--from", "d.h5", *FAST]) == 3
    assert "eig was not measured" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["old/mlp.pt", "old/mlp.check.landscape.h5", "landscape-baseline.json"])
def test_candidates_are_compared_with_another_checkpoint_its_results_or_a_baseline(known: str, other: str) -> None:
    save_checkpoint("old/mlp.pt")
    assert status(["check", "old/mlp.pt", *FAST]) == 0
    save_checkpoint("new.pt", 1.1)
    Path("landscape-baseline.json").rename("moved.json")
    other = "moved.json" if other.endswith(".json") else other
    assert status(["check", "new.pt", "--against", other, *FAST]) == 1
    assert status(["check", known, "--against", other, *FAST]) == 0


def test_a_file_is_what_its_place_says(known: str, capsys: Captured) -> None:
    """Neither a baseline nor results are a checkpoint, and a baseline is no result: none passes as its own."""
    assert status(["check", known, *FAST]) == 0
    for words in (["landscape-baseline.json"], ["mlp.check.landscape.h5"], ["--from", "landscape-baseline.json"]):
        assert status(["check", *words, *FAST]) == 2, words
    Path(known).rename("model.json")
    assert status(["check", "model.json", *FAST]) == 0


@pytest.mark.parametrize("text", ['{"architectures": ["x"]}', "", "[]", '{"kind": 1}'])
def test_what_is_neither_results_nor_a_baseline_is_taken_for_a_checkpoint(
    known: str, text: str, capsys: Captured
) -> None:
    Path("config.json").write_text(text)
    assert status(["check", known, "--against", "config.json", *FAST]) == 2
    assert "is not a baseline" not in capsys.readouterr().err


def test_a_baseline_that_was_sorted_anew_is_still_one(known: str) -> None:
    held = json.loads(Path("landscape-baseline.json").read_text())
    Path("sorted.json").write_text(json.dumps(held, sort_keys=True, indent=4))
    assert status(["check", known, "--against", "sorted.json", *FAST]) == 0


def test_a_pipe_is_not_waited_for(known: str) -> None:
    os.mkfifo("pipe")
    given = [known, "-o", "a/", "--against", "pipe"], [known, "-o", "b/", "--baseline", "pipe"]
    cases = [*given, ["--from", "pipe"], ["pipe"]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([*COMMAND, "check", *words, *FAST], **quiet) for words in cases]
    assert [process.wait(timeout=60) for process in running] == [2] * 4


def test_the_checkpoint_itself_may_be_what_it_is_compared_with(known: str) -> None:
    assert status(["check", known, "--against", known, *FAST, "-o", "out.h5"]) == 0


def test_results_of_different_checkpoints_in_one_file_are_refused(known: str, capsys: Captured) -> None:
    other = save_checkpoint("other.pt", 1.1)
    assert status(["eig", other, "-o", "mixed.h5", "-k", "1"]) == 0
    assert status(["direction", known, "-o", "mixed.h5"]) == 0
    assert status(["check", "--from", "mixed.h5", "--metric", "direction.slope", *FAST]) == 2
    assert "results of different weights" in capsys.readouterr().err


def test_another_preconditioner_is_another_matrix(known: str, capsys: Captured) -> None:
    names = landscape.load(known).space.names
    shapes = {block.name: block.shape for block in landscape.load(known).space.blocks}
    for name, size in (("p.pt", 1.0), ("q.pt", 100.0)):
        torch.save({one: torch.full(shapes[one], size) for one in names}, name)
    Path("landscape.toml").write_text('[check]\npreconditioner = "p.pt"\n[check.eig]\noperator = "preconditioned"\n')
    words = ["check", known, *FAST, "--baseline", "p.json"]
    assert status([*words, "--update"]) == 0
    assert status(words) == 0
    assert status([*words, "--preconditioner", "q.pt"]) == 3
    assert "preconditioner: " in capsys.readouterr().out


def test_retrained_checkpoints_are_compared_in_groups(capsys: Captured) -> None:
    kind = [*FAST, "--kind", "retrained"]
    baseline = [save_checkpoint(f"run{seed}/final.pt", 1.0, seed) for seed in range(5)]
    assert status(["check", *baseline, "--update", *kind]) == 0
    assert len(json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]) == 5
    alike = [save_checkpoint(f"new{seed}/final.pt", 1.0, seed) for seed in range(5, 8)]
    assert status(["check", *alike, *kind]) == 0
    assert status(["check", *alike[:2], *kind]) == 3
    capsys.readouterr()
    assert status(["check", *baseline[:4], "--update", *kind]) == 3
    assert "fewer than 5" in capsys.readouterr().err
    assert status(["check", *alike, *FAST]) == 2, "another kind"
    assert "written for --kind retrained" in capsys.readouterr().err
