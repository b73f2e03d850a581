"""Memorization and edits as a user types them: measured, written, undone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLES

from landscape.storage.read import read_results
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]
FEW = ["--no-per-layer", "--controls", "0", "--resamples", "20", "--no-plot"]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LANDSCAPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CI", raising=False)  # where no baseline is updated
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / "digits-noisy.pt", "a.pt")


def test_populations_bands_and_scores_are_printed(capsys: Captured) -> None:
    assert status(["memorization", "a.pt", *FEW]) == 0
    out, err = capsys.readouterr()
    for word in ("change of the mean loss", "edit_damage", "in the data", "50-100 %", "AUROC"):
        assert word in out
    header = next(line for line in out.splitlines() if line.strip().startswith("band"))
    assert header.split() == ["band", "components", "clean", "held-out", "memorized", "never-seen", "truth"]
    scores = next(line for line in out.splitlines() if line.strip().startswith("score "))
    assert scores.split() == ["score", "±", "standard", "error", "memorized", "others"]
    assert "the head is left out: 4" in err
    assert "wrote a.landscape.h5, a.factors.safetensors" in err


def test_an_edit_is_written_measured_and_undone(capsys: Captured) -> None:
    assert status(["memorization", "a.pt", *FEW]) == 0
    assert status(["edit", "a.pt", "--rho", "0.9", "--no-plot"]) == 0
    out, err = capsys.readouterr()
    assert "loss after" in out
    assert "the factors are those in a.factors.safetensors" in err
    assert "a.edited.safetensors, a.edited.undo.safetensors" in err
    assert {"memorization", "edit"} <= set(read_results(Path("a.landscape.h5")))
    content = Path("a.pt").read_bytes()
    assert status(["edit", "a.edited.safetensors", "--undo", "-o", "b.pt"]) == 0
    assert Path("b.pt").read_bytes() == content
    Path("a.pt").unlink()
    assert status(["edit", "a.edited.safetensors", "--undo"]) == 0
    assert Path("a.pt").read_bytes() == content
    assert "restored a.pt" in capsys.readouterr().err


def test_the_document_has_the_sweep(capsys: Captured) -> None:
    assert status(["edit", "a.pt", "--rho", "0.97,0.9", "--max-loss-increase", "0.05", "--json", "--no-plot"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["rho"] == [1, 0.97, 0.9]
    assert result["chosen_rho"] == 0.97
    assert len(result["accuracy"]) == len(result["population"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", "a.pt"], "neither --rho nor --max-loss-increase"),
        (["edit", "a.pt", "--rho", "0.9", "-o", "b.pt"], "-o b.pt would hold results"),
        (["edit", "a.pt", "--undo"], "cannot be undone: there is no"),
        (["edit", "--undo"], "no edited checkpoint is named"),
        (["edit", "a.pt", "b.pt", "--undo", "-o", "c.pt"], "-o names one file"),
        (["edit", "a.pt", "--rho", "0.9", "--method", "magic"], "one of kfac"),
        (["memorization", "a.pt", "--population", "x"], "is not NAME=DATA"),
        (["memorization", "a.pt", "--factors-on", "held"], "--factors-on"),
        (["memorization", "a.pt", "--layers", "nope"], "no layer matches --layers nope"),
        (["memorization", "a.pt", "--labels", "exactly"], "one of sampled, exact, gold"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_will_not_do_is_said_and_nothing_is_written(arguments: list[str], message: str, capsys: Captured) -> None:
    assert status(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in Path().iterdir() if not path.name.startswith(".")] == ["a.pt"]


def test_a_dry_run_plans_and_writes_nothing(capsys: Captured) -> None:
    assert status(["memorization", "a.pt", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "exact, 10 backward passes" in out
    assert "clean, held-out, memorized" in out
    assert status(["edit", "a.pt", "--rho", "0.9", "--dry-run"]) == 0
    assert [path.name for path in Path().iterdir() if not path.name.startswith(".")] == ["a.pt"]


def test_settings_name_populations_relative_to_their_folder(capsys: Captured) -> None:
    Path("sub").mkdir()
    Path("data.py").write_text(
        "import torch\ndef few():\n    return [(torch.ones(3, 64), torch.zeros(3, dtype=torch.long))]\n"
    )
    Path("landscape.toml").write_text('checkpoint = "a.pt"\n[memorization]\npopulation = ["mine=data.py:few"]\n')
    os.chdir("sub")
    assert status(["memorization", *FEW, "--json"]) == 0
    assert "mine" in json.loads(capsys.readouterr().out)["result"]["population"]
    os.chdir("..")
    Path("landscape.toml").write_text('checkpoint = "a.pt"\n[memorization.population]\nmine = "data.py:few"\n')
    os.chdir("sub")
    assert status(["memorization", *FEW, "--json"]) == 0
    assert "mine" in json.loads(capsys.readouterr().out)["result"]["population"]


def test_settings_may_share_populations_among_commands(capsys: Captured) -> None:
    Path("data.py").write_text(
        "import torch\ndef few():\n    return [(torch.ones(3, 64), torch.zeros(3, dtype=torch.long))]\n"
    )
    Path("landscape.toml").write_text('checkpoint = "a.pt"\n[population]\nmine = "data.py:few"\n')
    for command in (["memorization", *FEW], ["edit", "--rho", "0.9", "--no-plot"]):
        assert status([*command, "--json"]) == 0
        assert "mine" in json.loads(capsys.readouterr().out)["result"]["population"]
    assert status(["eig", "--limit", "50", "--no-plot"]) == 0


def test_an_edited_checkpoint_says_so(capsys: Captured) -> None:
    assert status(["edit", "a.pt", "--rho", "0.9", "--no-plot"]) == 0
    assert status(["inspect", "a.edited.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "2 tensors of a.pt (bounded_by clean" in out
    assert "rho 0.9" in out


def test_a_gate_may_bound_what_an_edit_costs_and_writes_no_checkpoint(capsys: Captured) -> None:
    Path("landscape.toml").write_text('[check.edit]\nrho = [0.9]\n[check.metrics]\n"edit.loss_increase" = "10%"\n')
    assert status(["check", "a.pt", "--update"]) == 0
    assert status(["check", "a.pt"]) == 0
    assert not list(Path().glob("*edited*"))
