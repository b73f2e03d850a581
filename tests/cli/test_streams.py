"""Streams whose readers have gone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from gate_folders import Captured

from landscape_cli.streams import say


def test_what_is_said_goes_to_stderr_without_control_characters(capsys: Captured) -> None:
    say("a.pt: \x1b[31mred")
    assert capsys.readouterr() == ("", "a.pt: \\x1b[31mred\n")


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None: ...

    monkeypatch.setattr("sys.stderr", Closed())
    say("nobody reads this")


def test_a_silenced_stdout_fails_neither_now_nor_at_exit() -> None:
    code = "import sys\nfrom landscape_cli.streams import silence_stdout\nsys.stdin.readline()\n"
    code += "silence_stdout()\nprint('x' * 10**6)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(b"\n")
    assert process.returncode == 0
    assert err == b""
