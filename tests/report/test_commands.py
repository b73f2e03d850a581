"""The commands of a page measure the same again: the command line reads their words as the same options."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import pytest

from landscape.analyses import Analysis, Density, Diagonal, Eig, Sensitivity, Sharpness, Surface, Trace
from landscape.conditions import Conditions
from landscape.report.commands import analysis_flags, command_of
from landscape_cli.main import status

CASES: dict[str, tuple[Analysis, Conditions]] = {
    "defaults": (Eig(), Conditions()),
    "short-flag": (Eig(k=7, which="both", tol=1e-4), Conditions(limit=100)),
    "switches": (Eig(certify=True, per_layer=True), Conditions(tf32=True, dtype="float64")),
    "off-by-a-no": (Surface(trial=False), Conditions()),
    "settled": (Surface(grid="21", axes="random", dim=1, level=(0.5, 1.5)), Conditions(mode="train")),
    "fitted-sizes": (Density(probes=6, steps=32), Conditions(params=("0.*", "2.*"))),
    "lists": (Sharpness(rho=(0.1, 0.2), draws=9), Conditions(model_arg=("sizes=[4, 2]", "bias=True"))),
    "other-spelling": (Surface(normalize="layer", ignore=("none",)), Conditions(data="it's data.npz")),
    "trace": (Trace(rtol=0.05, method="hutchinson"), Conditions(weight_decay=0.01)),
    "sensitivity": (Sensitivity(bits=(8, 3), prune=(0.5,), budget=4.5, kinds=("weight",)), Conditions()),
    "diagonal": (Diagonal(operator="ggn", rtol=0.3), Conditions(device="cpu")),
}


def attributes(analysis: Analysis, conditions: Conditions, checkpoint: str = "runs/my net.pt") -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "options": json.dumps(analysis.identity()),
        "conditions": json.dumps(asdict(conditions)),
    }


@pytest.mark.parametrize(("analysis", "conditions"), CASES.values(), ids=list(CASES))
def test_the_command_line_reads_the_same_options(
    analysis: Analysis, conditions: Conditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    monkeypatch.setattr("landscape_cli.commands.measure_checkpoints", lambda *values: read.extend(values) or 0)
    words = shlex.split(command_of(analysis.name, attributes(analysis, conditions)))
    assert words[0] == "landscape"
    assert status(words[1:]) == 0
    paths, measured, under, *_ = read
    assert [str(path) for path in paths] == ["runs/my net.pt"]
    assert json.dumps(measured.identity()) == json.dumps(analysis.identity())
    assert under == conditions


def test_what_is_the_default_or_follows_from_it_is_left_out() -> None:
    assert command_of("eig", attributes(Eig(), Conditions(), "a.pt")) == "landscape eig a.pt"
    assert command_of("surface", attributes(Surface(), Conditions(), "a.pt")) == "landscape surface a.pt"
    assert analysis_flags("surface", Surface(axes="gradient").identity()) == ["--axes", "gradient"]


def test_what_is_not_stored_is_said() -> None:
    towards = Surface(axes="checkpoints", towards=("b.pt",))
    assert command_of("surface", attributes(towards, Conditions())).endswith(
        "--axes checkpoints  # --towards names the other checkpoints, whose paths are not stored"
    )
    assert "measured in Python" in command_of("eig", attributes(Eig(), Conditions(), ""))


def test_options_of_another_version_are_no_error() -> None:
    stored = {"k": 3, "gone": 1, "which": "inwards"}
    assert analysis_flags("eig", stored) == ["-k", "3", "--which", "inwards"]
    assert analysis_flags("frobenius", stored) == []


def test_stored_attributes_give_the_options_that_were_run(first: Any) -> None:
    flags = analysis_flags("eig", json.loads(first.groups["eig"].attributes["options"]))
    assert sorted(flags) == sorted(["-k", "3", "--per-layer"])
