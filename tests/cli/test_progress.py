"""Progress: a live line on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import pytest

from landscape.analyses import Progress
from landscape_cli import progress

STEP = Progress(2, 5, "17 products", dict)


def test_a_log_gets_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.reporter("eig a.pt") as report:
        for _ in range(100):
            clock[0] += 1
            report(STEP)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["eig a.pt: 2/5, 17 products"] * 3


@pytest.mark.parametrize("ci", [False, True], ids=["terminal", "ci"])
def test_a_terminal_gets_a_live_line_unless_it_is_ci(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ci: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "1") if ci else monkeypatch.delenv("CI", raising=False)
    with progress.reporter("eig [x].pt") as report:
        report(STEP)
    err = capsys.readouterr().err
    assert ("17 products" in err) != ci
    assert ("eig [x].pt" in err) != ci
