"""Runs the blocks of a documentation page: Python blocks are files, lines of bash blocks are commands."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path

from landscape_cli.main import status

BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_blocks(page: str, adapt: Callable[[list[str]], list[str]] = lambda words: [*words, "--no-plot"]) -> int:
    """Runs the blocks in order in the working directory, and returns how many commands there were.

    A Python block is written to the file that its first line names. `adapt` changes the words of a `landscape` command.
    """
    commands = 0
    for language, text in BLOCK.findall(page):
        if language == "python":
            name = re.match(r"# (\w+\.py)", text)
            assert name is not None, text
            Path(name[1]).write_text(text)
            continue
        for words in map(shlex.split, text.splitlines()):
            commands += 1
            if words[0] == "python":
                runpy.run_path(words[1], run_name="__main__")
            else:
                assert status(adapt(words[1:])) == 0, words
    return commands
