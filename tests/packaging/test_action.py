"""The action for GitHub: its form, and its steps as a runner would execute them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from gate_folders import FAST, enter_clean_folder, save_checkpoint

from landscape_cli.main import status

FOLDER = ROOT / ".ci" / "check"
ACTION: dict[str, Any] = yaml.safe_load((FOLDER / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
RESULTS = "mlp.check.landscape.h5"


def test_it_has_the_form_of_a_composite_action() -> None:
    assert set(ACTION) == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    assert all(
        set(one) == {"description", "default"} and one["default"] is not None for one in ACTION["inputs"].values()
    )
    assert all(step["shell"] == "bash" for step in STEPS.values())
    assert ACTION["outputs"]["exit-code"]["value"] == "${{ steps.check.outputs.exit-code }}"
    assert STEPS["check"]["id"] == "check"


def test_no_input_is_part_of_a_script() -> None:
    """An input that stands in a script is code; in the environment it is text."""
    assert not [step for step in STEPS.values() if "${{" in step["run"]]


def environment(step: dict[str, Any], folder: Path, **inputs: str) -> dict[str, str]:
    """The variables of a step, where expressions are replaced as a runner does it."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "github.action_path":
            return str(FOLDER)
        name = found[1].removeprefix("inputs.")
        return inputs.get(name.replace("-", "_"), ACTION["inputs"][name]["default"])

    own = {key: re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text) for key, text in step["env"].items()}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    files = {
        "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "RUNNER_TEMP": str(folder / "bin"),
    }  # fmt: skip
    return {**os.environ, **own, **files, "PATH": path, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")])}


def run(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs a step as GitHub does: the script is a file, bash stops at the first error."""
    script = folder / "step.sh"
    script.write_text(STEPS[name]["run"], encoding="utf-8")
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    variables = environment(STEPS[name], folder, **inputs)
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def put_python(folder: Path, text: str) -> None:
    """A program called python that comes first in the path."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    (folder / "bin" / "python").chmod(0o755)


@pytest.mark.parametrize("there", [True, False], ids=["torch-is-there", "torch-is-missing"])
@pytest.mark.parametrize("index", ["", "https://index.example/cpu"])
def test_torch_is_installed_where_it_is_missing_from_the_index_that_is_named(
    there: bool, index: str, tmp_path: Path
) -> None:
    put_python(tmp_path, f'[ "$1" = -c ] && exit {int(not there)}\necho "$@" >> pip.log')
    done = run("install", tmp_path, torch_index=index)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "pip.log").read_text(encoding="utf-8").splitlines()
    (pin,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    named = f"--index-url {index} " if index else ""
    torch = [] if there else [f"-m pip install {named}{pin}"]
    assert log == [*torch, f"-m pip install {FOLDER}/../.."]


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkpoint, its baseline and the gate's own results."""
    enter_clean_folder(monkeypatch, tmp_path)
    put_python(tmp_path, f'exec {sys.executable} "$@"')
    assert status(["check", save_checkpoint("mlp.pt"), "--update", *FAST]) == 0
    return tmp_path


def test_a_regression_fails_the_step_with_its_exit_code_and_an_annotation(gated: Path) -> None:
    save_checkpoint("mlp.pt", 1.1)
    done = run("check", gated, checkpoints="\nmlp.pt\n", arguments=" ".join(FAST), junit="report.xml")
    assert done.returncode == 1, done.stderr
    assert "::error title=landscape" in done.stdout
    assert (gated / "output").read_text(encoding="utf-8") == "exit-code=1\n"
    assert "1 regression" in (gated / "summary.md").read_text(encoding="utf-8")
    assert (gated / "report.xml").exists()


def test_without_inputs_the_settings_decide_and_the_code_of_an_error_is_kept(gated: Path) -> None:
    done = run("check", gated)
    assert done.returncode == 2
    assert "no checkpoint is named" in done.stderr
    assert (gated / "output").read_text(encoding="utf-8") == "exit-code=2\n"
    assert run("check", gated, arguments=f"--from {RESULTS} {' '.join(FAST)}").returncode == 0
    assert not (gated / "report.xml").exists()


WORDS = [
    ("--kind retrained --tol 5%", ["--kind", "retrained", "--tol", "5%"]),
    (
        "--metric sharpness.s_avg[0]\n--metric 'trace.trace'\r\n",
        ["--metric", "sharpness.s_avg[0]", "--metric", "trace.trace"],
    ),
    ('--tol "1% or 0.05 abs"', ["--tol", "1% or 0.05 abs"]),
    ("", []),
]


@pytest.mark.parametrize(("arguments", "words"), WORDS, ids=["line", "lines", "quotes", "none"])
def test_every_line_of_the_arguments_reaches_the_command(arguments: str, words: list[str], tmp_path: Path) -> None:
    log = '[ "$1" = -c ] && exec ' + f'{sys.executable} "$@"\n' + "printf '%s\\n' \"$@\" > words.log"
    put_python(tmp_path, log)
    done = run("check", tmp_path, arguments=arguments, checkpoints=" a.pt \r\nb c.pt\n", config="g.toml")
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "words.log").read_text(encoding="utf-8").splitlines()
    formats = ["--format", "text", "--format", "github", "--format", "markdown"]
    assert found == ["-m", "landscape", "--config", "g.toml", "check", *formats, "a.pt", "b c.pt", *words]


def test_a_quote_that_is_not_closed_ends_the_step(tmp_path: Path) -> None:
    put_python(tmp_path, f'[ "$1" = -c ] && exec {sys.executable} "$@"\necho "$@" > words.log')
    assert run("check", tmp_path, arguments='--tol "1%').returncode != 0
    assert not (tmp_path / "words.log").exists()
