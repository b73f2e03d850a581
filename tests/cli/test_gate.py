"""The gate's policy in the settings, and flags that contradict each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gate_folders import Captured, save_checkpoint

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_the_policy_stands_in_the_settings(capsys: Captured) -> None:
    save_checkpoint("models/mlp.pt")
    Path("landscape.toml").write_text(
        """
        checkpoint = "models/mlp.pt"
        [check]
        baseline = "gates/loss.json"
        tol = "0.01%"
        format = ["text"]
        [check.metrics]
        "eig.eigenvalues[1]" = { level = "warn", max_increase = "1%" }
        "eig.loss" = { max_change = "1e-3 abs" }
        "trace.trace" = "off"
        [check.eig]
        k = 2
        tol = 1e-2
        """
    )
    Path("gates").mkdir()
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    assert status(["check", "--update"]) == 0
    assert Path("../gates/loss.json").exists()
    assert status(["check"]) == 0
    out = capsys.readouterr().out
    assert "0.001 abs" in out
    assert "trace" not in out
    save_checkpoint("../models/mlp.pt", 1.05)
    assert status(["check"]) == 1
    assert "warning: eig.eigenvalues[1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[check]\nkindd = 'retrained'", "did you mean kind"),
        ("[check]\nkind = 'both'", "one of same-weights, retrained"),
        ("[check]\nupdate = true", "update is not taken from settings"),
        ("[check]\nmetrics = 'eig.loss'", "[check] metrics is not a table"),
        ("[check.metrics]\n'eig.los' = 'error'", "did you mean loss"),
        ("[check.metrics]\n'eig.loss' = 0.02", "eig.loss = 0.02"),
        ("[check.egi]\nk = 1", "[check] has no table egi (did you mean eig?)"),
        ("[check.eig]\nkk = 1", "[check.eig] has no setting kk"),
        ("[check.eig]\nk = 'many'", "[check.eig]: k is 'many', not a whole number"),
        ("[check.eig]\nk = 0", "--k is 0"),
        ("[check.eig]\nk = true", "[check.eig]: k is True"),
        ("[check.eig]\nk = [1, 2]", "[check.eig]: k is [1, 2]"),
        ("[check.eig]\ncertify = 'yes'", "[check.eig]: certify is 'yes'"),
        ("[check]\ntol = 2", "the tolerance '2'"),
        ("[check]\nformat = 'xml'", "--format xml"),
        ("[check]\nlimit = 0", "--limit is 0"),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:24],
)
def test_what_is_wrong_is_named(known: str, text: str, words: str, capsys: Captured) -> None:
    Path("landscape.toml").write_text(text)
    assert status(["check", known]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--update", "--calibrate", "3"], "two commands"),
        (["--update", "--against", "x.json"], "--against is what to compare with"),
        (["--from", "x.h5"], "both candidates"),
        (["--metric", "eig.nothing"], "has no number"),
        (["--tol", "1"], "is not understood"),
        (["--format", "json", "--format", "github"], "cannot share stdout"),
        (["--calibrate", "1"], "--calibrate is 1"),
        (["--alpha", "2"], "--alpha is 2"),
        (["--kind", "both"], "--kind is 'both'"),
        (["--update", "--json"], "--update prints a table"),
        (["--calibrate", "2", "--json"], "--calibrate prints a table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_make_no_sense_are_refused(known: str, flags: list[str], words: str, capsys: Captured) -> None:
    assert status(["check", known, *flags]) == 2
    assert words in capsys.readouterr().err


def test_no_checkpoint_is_an_error(capsys: Captured) -> None:
    assert status(["check"]) == 2
    assert "no checkpoint is named" in capsys.readouterr().err
