"""Commands in processes of their own, which stop at a step that the test can see."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import IO

# the command prints every step's progress to stderr, and goes on when a line comes on stdin, or when stdin is closed
STEP_BY_STEP = """
import sys
from landscape_cli import progress
from landscape_cli.main import main

def wait_after(report):
    def step(progress):
        report(progress)
        sys.stdin.readline()
    return step

plain_reporter, progress.PLAIN_EVERY = progress.plain_reporter, 0
progress.plain_reporter = lambda *arguments: wait_after(plain_reporter(*arguments))
main()
"""
PROGRESS = re.compile(r": \d+/\d+, ")  # in the line of a step


def start_step_by_step(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`landscape` with these arguments, which waits for a line on stdin after each step of a measurement."""
    return subprocess.Popen(
        [sys.executable, "-c", STEP_BY_STEP, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def signal_at_first_step(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    """Sends the signal while the process waits after its first step; returns stdout and stderr."""
    assert process.stderr is not None
    before = ""
    for line in process.stderr:
        before += line
        if PROGRESS.search(line):
            break
    process.send_signal(number)
    out, after = process.communicate()  # closes stdin, so that the process goes on
    return out, before + after


def run_command(*arguments: str, stdout: IO[str] | int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """`landscape` with these arguments, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "landscape", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
