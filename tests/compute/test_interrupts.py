"""Signals that end the program at once, also while a library is imported."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.compute.interrupts import STOPPED, interruption
from landscape.errors import Interrupted, TaskError

SWALLOWING = """
try:
    import os, signal
    os.kill(os.getpid(), signal.{name})
    for _ in range(10): pass
except BaseException:
    pass
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_an_import_that_swallows_exceptions_ends_the_program(
    tmp_path: Path, name: str, code: int
) -> None:
    (tmp_path / "swallowing.py").write_text(SWALLOWING.format(name=name))
    program = "from landscape.compute.interrupts import end_on_signals; end_on_signals(); import swallowing; print(1)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"error: {STOPPED}\n")


def test_outside_imports_a_signal_raises() -> None:
    program = """
import os, signal
from landscape.compute.interrupts import end_on_signals
from landscape.errors import Interrupted
end_on_signals()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except Interrupted as error:
    print(error.exit_code)
end_on_signals(at_once=True)
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_signal_is_found_in_the_error_that_a_library_made_of_it() -> None:
    wrapped = SystemError("initialization of _path raised unreported exception")
    wrapped.__cause__ = Interrupted(signal.SIGTERM, "stopped")
    outer = ImportError("matplotlib")
    outer.__context__ = wrapped
    assert interruption(outer) == 143
    assert interruption(KeyboardInterrupt()) == 130
    assert interruption(TaskError("the model fails")) is None


def test_ctrl_break_of_windows_interrupts_where_there_is_one() -> None:
    program = """
import os, signal
assert not hasattr(signal, "SIGBREAK")
signal.SIGBREAK = signal.SIGUSR1  # another signal plays its part
from landscape.compute.interrupts import end_on_signals
end_on_signals(at_once=True)
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGUSR1, "")
