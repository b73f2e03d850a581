"""The words of `landscape report`: what it takes, and that its help loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


def test_the_help_names_what_it_takes_and_the_default(capsys: Captured) -> None:
    assert status(["report", "--help"]) == 0
    text = capsys.readouterr().out
    assert "RESULT|DIR..." in text
    assert "report.html" in text
    assert "--static" in text


def test_the_help_loads_nothing_that_reads_or_draws() -> None:
    code = (
        "import sys; from landscape_cli.main import status; status(['report', '--help']); "
        "assert not {'numpy', 'h5py', 'matplotlib', 'plotly', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_nothing_named_is_a_usage_error(capsys: Captured) -> None:
    assert status(["report"]) == 2
    assert "RESULT" in capsys.readouterr().err
