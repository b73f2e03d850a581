"""Progress: a live line on a terminal, otherwise a line for every phase and every half minute."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

import landscape
from landscape.analyses import Plan, Progress
from landscape_cli import progress
from landscape_cli.main import status

STEP = Progress(2, 5, "17 products", dict)
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def plan(seconds: float, **phases: float) -> Plan:
    return Plan(0, 0, seconds, {}, phases=phases)


def test_a_log_gets_a_line_every_half_minute(capsys: Captured, clock: list[float]) -> None:
    with progress.reporter("eig a.pt") as report:
        for _ in range(100):
            clock[0] += 1
            report(STEP)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["eig a.pt: 2/5, 17 products"] * 4  # the first after the first five seconds


def test_a_log_says_what_the_plan_forecasts_and_then_what_the_pace_does(capsys: Captured, clock: list[float]) -> None:
    with progress.reporter("eig a.pt", plan(600)) as report:
        assert capsys.readouterr().err == "eig a.pt: about 10 min left, by the plan\n"
        for done in range(1, 61):
            clock[0] += 2
            report(Progress(done, 100, f"{done} products", dict))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "eig a.pt: 1/100, 1 products, about 5.7 min left"
    assert lines[-1] == "eig a.pt: 46/100, 46 products, about 1.8 min left"
    assert len(lines) == 4


def test_a_log_gets_a_line_when_a_phase_begins(capsys: Captured, clock: list[float]) -> None:
    with progress.reporter("sharpness a.pt", plan(100, worst=60, average=40)) as report:
        for done in range(1, 21):
            clock[0] += 1
            report(Progress(done, 20, "radius 0.2", dict, "worst"))
        report(Progress(1, 10, "1 pairs", dict, "average"))
        report(Progress(2, 10, "2 pairs", dict, "average"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["sharpness a.pt: 1/20", "sharpness a.pt: 1/10"]


def test_a_short_measurement_leaves_no_line_in_a_log(capsys: Captured, clock: list[float]) -> None:
    with progress.reporter("eig a.pt", plan(4)) as report:
        for done in range(1, 41):
            clock[0] += 0.1
            report(Progress(done, 40, "", dict, f"phase {done // 10}"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variables", "live"),
    [
        ({}, True),
        ({"CI": "1"}, False),
        ({"CI": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, True),
    ],
    ids=["terminal", "ci", "empty ci", "dumb", "no color"],
)
def test_a_terminal_gets_a_live_line_unless_it_cannot_show_it(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], live: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "120", **variables}.items():
        monkeypatch.setenv(name, value)
    with progress.reporter("eig [x].pt", plan(600)) as report:
        report(STEP)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("\x1b[?25l" in err) == live  # the cursor is hidden while the line moves
    assert "eig [x].pt" in err
    assert "min left" in err
    assert not ("\x1b[3" in err and "NO_COLOR" in variables)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_live_line_is_one_line(width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert Console(stderr=True).width == width
    note = "radius 0.2, eigenvectors of the starts, 13 products"
    with progress.reporter("sharpness runs/a/long/name/of/a/checkpoint.pt", plan(600)) as report:
        report(Progress(17, 180, note, dict))
    plain = capsys.readouterr().err
    for mark in ("\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\r"):
        plain = plain.replace(mark, "\n")
    shown = [line for line in plain.split("\n") if "left" in line]
    assert shown
    assert all("17/180" in line for line in shown[-1:])
    assert not [line for line in plain.split("\n") if line.strip() and "left" not in line]


def test_a_forecast_changes_no_bit_of_a_result_and_is_not_made_for_a_few_passes() -> None:
    objective, other = (landscape.load(str(SAMPLES / "digits-mlp.pt"), limit=60) for _ in range(2))
    for analysis in (landscape.Eig(k=2), landscape.Sharpness(starts=2, draws=4), landscape.Trace(rtol=0.2)):
        found = progress.forecast(analysis, objective)
        assert found is not None
        assert found.seconds > 0
        assert not found.phases or sum(found.phases.values()) <= 1.01 * found.seconds
        planned, plain = (landscape.run(analysis, one).to_dict() for one in (objective, other))
        assert planned == plain
    for analysis in (landscape.Direction(), landscape.Critical()):
        assert progress.forecast(analysis, objective) is None


def test_phases_of_plans_are_phases_of_measurements() -> None:
    objective = landscape.load(str(SAMPLES / "digits-mlp.pt"), limit=60)
    for analysis in (
        landscape.Eig(k=1, per_layer=True, resample=4),
        landscape.Trace(rtol=0.02),
        landscape.Sharpness(starts=2, steps=2, draws=2, curve=(0.1,)),
        landscape.Flatness(starts=2, steps=2),
        landscape.Measures(draws=1, rtol=0.5),
        landscape.Surface(grid="3", dim=1),
        landscape.Sensitivity(bits=(4,), prune=(0.5,), criterion="saliency"),
    ):
        plan = analysis.plan(objective)
        steps: list[Progress] = []
        landscape.run(analysis, objective, report=steps.append)
        seen = {step.phase for step in steps}
        for name in plan.phases:
            assert [phase for phase in seen if name in (phase, phase.partition(" ")[0])], (analysis.name, name)


def test_a_command_in_a_pseudo_terminal_keeps_its_answer_on_stdout(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "landscape", "trace", str(SAMPLES / "digits-mlp.pt"), "--limit", "60"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("CI", None)
    with os.fdopen(main, "rb") as screen:
        done = subprocess.run(
            [*command, "--rtol", "0.2", "-o", str(tmp_path / "a.h5")],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=environment,
            check=True,
        )
        os.close(terminal)
        shown = screen.read1(1 << 16)  # type: ignore[union-attr]
    assert b"\x1b" not in done.stdout
    assert b"trace" in done.stdout
    assert b"\x1b[?25l" in shown


def test_a_measurement_that_cannot_be_planned_has_no_forecast(capsys: Captured) -> None:
    assert status(["surface", str(SAMPLES / "digits-mlp.pt"), "--towards", "nowhere.pt", "--limit", "20"]) == 2
    assert "nowhere.pt" in capsys.readouterr().err
