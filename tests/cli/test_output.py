"""Options of every command that measures: which results are drawn, and which options settings files have."""

from __future__ import annotations

from dataclasses import fields

import pytest
from gate_folders import Captured

from landscape.fields import Option, described_fields
from landscape_cli.config_tables import WRITTEN
from landscape_cli.main import status
from landscape_cli.output import MOST_DRAWN, Output, Writing


@pytest.mark.parametrize(
    ("plot", "checkpoints", "drawn"),
    [
        (None, 1, True),
        (None, MOST_DRAWN, True),
        (None, MOST_DRAWN + 1, False),
        (True, MOST_DRAWN + 1, True),
        (False, 1, False),
    ],
    ids=["one", "most", "too-many", "asked-for", "refused"],
)
def test_few_checkpoints_are_drawn_unless_the_user_decides(plot: bool | None, checkpoints: int, drawn: bool) -> None:
    assert Output(plot=plot).draws(checkpoints) is drawn


def test_the_limit_is_the_one_that_the_help_names() -> None:
    (plot,) = (field for field in described_fields(Output, Option) if field.name == "plot")
    assert f"for at most {MOST_DRAWN} checkpoints" in plot.about.help


@pytest.mark.parametrize("devices", ["0", "-1"])
def test_no_process_is_no_number_of_devices(devices: str, capsys: Captured) -> None:
    assert status(["eig", "net.pt", "--devices", devices]) == 2
    assert f"--devices is {devices}\n  fix:  a number at least 1" in capsys.readouterr().err


def test_options_of_one_call_are_none_for_settings() -> None:
    assert {field.name for field in fields(Writing)} == WRITTEN
    assert not {"plot", "devices"} & WRITTEN
