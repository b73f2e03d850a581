"""`landscape check --update`: what becomes the baseline, and when it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_folders import FAST, LAMBDA, Captured, save_checkpoint

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_it_is_refused_in_ci_and_changes_nothing(known: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("landscape-baseline.json").read_bytes()
    monkeypatch.setenv("CI", "true")
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", "mlp.pt", "--update", *FAST]) == 2
    assert "CI=true" in capsys.readouterr().err
    assert Path("landscape-baseline.json").read_bytes() == before
    monkeypatch.setenv("CI", "false")
    assert status(["check", "mlp.pt", "--update", *FAST]) == 0


@pytest.mark.parametrize("broken", ["nan", "missing", "nothing"])
def test_nothing_is_written_if_a_number_is_missing(known: str, broken: str, capsys: Captured) -> None:
    before = Path("landscape-baseline.json").read_bytes()
    other = save_checkpoint("other.pt", float("nan")) if broken == "nan" else "missing.pt"
    metric = ["--metric", "eig.eigenvalues[7]"] if broken == "nothing" else FAST
    paths = [known] if broken == "nothing" else [known, other]
    assert status(["check", *paths, "--update", *metric]) == (2 if broken == "missing" else 3)
    assert Path("landscape-baseline.json").read_bytes() == before
    assert capsys.readouterr().err


def test_other_checkpoints_stay_and_the_old_number_is_shown(known: str, capsys: Captured) -> None:
    old = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"][LAMBDA]
    save_checkpoint("b/second.pt", 0.9)
    assert status(["check", "b/second.pt", "--update", *FAST]) == 0
    save_checkpoint("mlp.pt", 1.1)
    capsys.readouterr()
    assert status(["check", "mlp.pt", "--update", *FAST]) == 0
    assert f"{old['value']:.6g}" in capsys.readouterr().out
    held = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]
    assert list(held) == ["mlp.pt", "second.pt"]
    assert status(["check", "mlp.pt", "b/second.pt", *FAST]) == 0


def test_a_baseline_of_another_kind_is_not_lost(known: str, capsys: Captured) -> None:
    before = Path("landscape-baseline.json").read_bytes()
    runs = [save_checkpoint(f"{seed}.pt", 1.0, seed) for seed in range(5)]
    assert status(["check", *runs, "--update", "--kind", "retrained", *FAST]) == 2
    assert "which would be lost" in capsys.readouterr().err
    assert Path("landscape-baseline.json").read_bytes() == before


@pytest.mark.parametrize("name", ["TF_BUILD", "JENKINS_URL"])
def test_services_that_do_not_set_ci_are_known(known: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "True")
    assert status(["check", known, "--update", *FAST]) == 2


def test_a_damaged_baseline_names_what_helps(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    Path("landscape-baseline.json").write_text("<<<<<<< HEAD")
    assert status(["check", "mlp.pt", "--update", *FAST]) == 2
    assert "restore it, or remove it" in capsys.readouterr().err
    Path("landscape-baseline.json").unlink()
    assert status(["check", "mlp.pt", "--update", *FAST]) == 0


def test_the_baselines_name_is_free() -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--update", *FAST, "--baseline", "gate.lock"]) == 0
    assert status(["check", "mlp.pt", *FAST, "--baseline", "gate.lock"]) == 0
    save_checkpoint("mlp.pt", 1.1)
    assert status(["check", "mlp.pt", *FAST, "--against", "gate.lock"]) == 1


def test_what_is_no_baseline_is_not_overwritten(capsys: Captured) -> None:
    save_checkpoint("mlp.pt")
    Path("package.json").write_text("{}")
    assert status(["check", "mlp.pt", "--update", *FAST, "--baseline", "package.json"]) == 2
    assert Path("package.json").read_text() == "{}"


def test_an_update_of_one_metric_keeps_the_others() -> None:
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--update", *FAST, "--metric", "trace.trace"]) == 0
    assert status(["check", "mlp.pt", "--update", *FAST]) == 0
    held = json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]["mlp.pt"]["metrics"]
    assert list(held) == [LAMBDA, "trace.trace"]


def test_the_same_names_in_several_folders_are_told_apart() -> None:
    first, second = save_checkpoint("a/mlp.pt"), save_checkpoint("b/mlp.pt", 0.8)
    assert status(["check", first, second, "--update", *FAST]) == 0
    assert list(json.loads(Path("landscape-baseline.json").read_text())["checkpoints"]) == ["a/mlp.pt", "b/mlp.pt"]
    assert status(["check", str(Path(second).resolve()), *FAST]) == 0
    save_checkpoint("b/mlp.pt", 1.1)
    assert status(["check", first, *FAST]) == 0
    assert status(["check", second, *FAST]) == 1
