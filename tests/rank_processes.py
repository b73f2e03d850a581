"""Several processes of one command, as torchrun starts them, without torchrun's own seconds.

They are forked from one process that has imported what they need.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import rank_start

ROOT = Path(__file__).parent.parent
HANGS = 900.0  # seconds after which processes are ended: far more than they take on a busy machine
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rank_start"])


@dataclass(frozen=True)
class Ended:
    """What the processes left: exit codes in their order, and what the first (or another) printed."""

    codes: tuple[int, ...]
    out: str
    err: str
    errors: tuple[str, ...]


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("localhost", 0))
        return int(chosen.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "cli"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **more}


def together(words: Sequence[str], size: int, folder: Path, more: Mapping[str, str] = {}) -> Ended:
    """The end of `python WORDS` as so many ranks of this machine."""
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    place |= {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": str(size), **more}
    with mock.patch.dict(os.environ, environment()):  # in which the first call starts the process that forks
        forkserver.ensure_running()
    processes, pipes = [], []
    for rank in range(size):
        ends = [FORKS.Pipe(duplex=False) for _ in range(2)]
        own = environment(**place, RANK=str(rank), LOCAL_RANK=str(rank))
        writers = [writer for _, writer in ends]
        processes.append(FORKS.Process(target=rank_start.run, args=(words, str(folder), own, *writers)))
        processes[-1].start()
        for writer in writers:
            writer.close()
        pipes += [reader for reader, _ in ends]
    with ThreadPoolExecutor(len(pipes)) as readers:
        printed = [readers.submit(_read, pipe) for pipe in pipes]
        for process in processes:
            process.join(HANGS)
            process.kill()
        texts = [each.result() for each in printed]
    codes = tuple(_code(process.exitcode) for process in processes)
    for process in processes:
        process.close()
    return Ended(codes, texts[0], texts[1], tuple(texts[1::2]))


def _read(pipe: Connection) -> str:
    """All that comes through a pipe."""
    with pipe, os.fdopen(os.dup(pipe.fileno()), encoding="utf-8") as text:
        return text.read()


def _code(code: int | None) -> int:
    assert code is not None
    return code


def wait(processes: Sequence[subprocess.Popen[str]]) -> Ended:
    """What processes left when all have ended."""
    try:
        printed = [process.communicate(timeout=HANGS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = tuple(process.returncode for process in processes)
    return Ended(codes, printed[0][0], printed[0][1], tuple(err for _, err in printed))


def alone(words: Sequence[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    """`python WORDS` as a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *words], cwd=folder, env=environment(**more), text=True, **pipes)  # type: ignore[call-overload, no-any-return]
