"""The first module of the command: signals and failures while everything else is imported."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from landscape.compute.interrupts import STOPPED

# the name of a module that the command imports is replaced by one with this code
REPLACED = """
import sys, types, importlib.abc, importlib.util, os, signal

class Replacing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "typer" else None
    def exec_module(self, module):
        {code}

sys.meta_path.insert(0, Replacing())
from landscape_cli.entry import main
print("went on")
"""


def imported(code: str) -> subprocess.CompletedProcess[str]:
    """A process that imports the command, in which the import of a library runs this code."""
    script = REPLACED.format(code=code)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_is_imported_ends_it_with_its_code(number: int) -> None:
    done = imported(f"os.kill(os.getpid(), {int(number)})")
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"error: {STOPPED}\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise MemoryError", "error: memory ran out while the command was loaded"),
        ("raise ImportError('a.so: failed to map segment from shared object')", "error: memory ran out while"),
        ("raise ImportError('no such library')", "error: the command cannot be loaded: ImportError: no such library"),
    ],
    ids=["memory", "a library", "installation"],
)
def test_a_library_that_cannot_be_loaded_is_no_regression(code: str, message: str) -> None:
    done = imported(code)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
