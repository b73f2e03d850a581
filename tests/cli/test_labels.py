"""`--label NAME=PATH`: what a file is called wherever it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_folders import Captured

from landscape.errors import UsageError
from landscape_cli.labels import apply_labels
from landscape_cli.main import status

FILES = [Path("a/x.pt"), Path("b/x.pt")]
USUAL = ["a/x", "b/x"]


def test_named_files_have_their_names_and_others_the_usual_ones() -> None:
    assert apply_labels(FILES, USUAL, []) == USUAL
    assert apply_labels(FILES, USUAL, ["SAM, seed 1=b/x.pt"]) == ["a/x", "SAM, seed 1"]
    assert apply_labels([Path("k=v/x.pt")], ["x"], ["first=k=v/x.pt"]) == ["first"]


@pytest.mark.parametrize("named", [["c=c/x.pt"], ["=a/x.pt"], ["a/x.pt"], ["b/x=a/x.pt"], ["y=a/x.pt", "y=b/x.pt"]])
def test_labels_that_name_nothing_or_two_files_are_refused(named: list[str]) -> None:
    with pytest.raises(UsageError):
        apply_labels(FILES, USUAL, named)


@pytest.mark.usefixtures("folder_with_samples")
def test_measured_checkpoints_have_them_in_titles_notes_and_json(capsys: Captured) -> None:
    named = ["--label", "plain=a.pt", "--label", "the $end$=run/step-0840.pt"]
    command = ["eig", "a.pt", "run/step-0840.pt", "-k", "1", "--limit", "60", *named]
    assert status(command) == 0
    out, err = capsys.readouterr()
    assert "plain" in out
    assert "the $end$" in out
    assert "the $end$: model: mlp" in err
    assert status([*command, "--json", "--no-plot"]) == 0
    assert [document["label"] for document in json.loads(capsys.readouterr().out)] == ["plain", "the $end$"]
    assert status(["eig", "a.pt", "--label", "x=b.pt"]) == 2
