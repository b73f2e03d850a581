"""Earlier names of options: understood as flags, in the environment and in settings, and shown nowhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from gate_folders import Captured

from landscape.fields import Option, Options, described_fields, option
from landscape_cli.commands import command_class
from landscape_cli.main import status
from landscape_cli.options import parameters, with_signature

pytestmark = pytest.mark.usefixtures("clean_folder")


@dataclass(frozen=True)
class Renamed(Options):
    normalize: str = option("filter", help="A scale.", aliases=("normalise",))
    center: bool = option(True, help="Center.", aliases=("centre",))


def parse(*arguments: str) -> dict[str, Any]:
    """The values that a command with these options gets from its arguments."""
    app = typer.Typer(add_completion=False)
    found: dict[str, Any] = {}
    fields = described_fields(Renamed, Option)

    def invoke(**values: Any) -> None:
        found.update(values)

    app.command(cls=command_class(Renamed))(with_signature(invoke, *parameters(fields, "Options")))
    typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    return found


@pytest.mark.parametrize("words", [["--normalise", "layer"], ["--normalise=layer"], ["--normalize", "layer"]], ids=str)
def test_an_earlier_flag_is_the_present_one(words: list[str]) -> None:
    assert parse(*words) == {"normalize": "layer", "center": True}


def test_the_flag_that_turns_an_option_off_has_its_earlier_name_too() -> None:
    assert parse("--no-centre") == {"normalize": "filter", "center": False}


def test_an_earlier_variable_is_the_present_one_which_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_NORMALISE", "layer")
    assert parse()["normalize"] == "layer"
    monkeypatch.setenv("LANDSCAPE_NORMALIZE", "tensor")
    assert parse()["normalize"] == "tensor"


def measured_scale(capsys: Captured, *arguments: str) -> str:
    """The scale of the directions of a surface, as its result stores it."""
    assert status(["surface", "mlp.pt", "--grid", "3x3", "--json", "--no-plot", "-o", "a.h5", *arguments]) == 0
    scale: str = json.loads(capsys.readouterr().out)["options"]["normalise"]
    return scale


def test_results_keep_the_earlier_name_however_the_option_was_named(
    ckpt: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured_scale(capsys, "--normalise", "tensor") == "tensor"
    assert measured_scale(capsys, "--normalize", "layer") == "layer"
    Path("landscape.toml").write_text('[surface]\nnormalise = "tensor"')
    assert measured_scale(capsys) == "tensor"


def test_help_shows_present_names_alone(capsys: Captured) -> None:
    assert status(["surface", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--normalize" in out
    assert "normalise" not in out
