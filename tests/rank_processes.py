"""Several processes of one command, as torchrun starts them, without torchrun's own seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


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


def start(words: Sequence[str], size: int, folder: Path, **more: str) -> list[subprocess.Popen[str]]:
    """`python WORDS` as so many ranks of this machine."""
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    place["TORCHELASTIC_RUN_ID"] = "none"
    return [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=environment(**place, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(size), **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def wait(processes: Sequence[subprocess.Popen[str]], seconds: float = 120) -> Ended:
    """What they left when all have ended."""
    try:
        printed = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = tuple(process.returncode for process in processes)
    return Ended(codes, printed[0][0], printed[0][1], tuple(err for _, err in printed))


def together(words: Sequence[str], size: int, folder: Path, more: Mapping[str, str] = {}) -> Ended:
    """The end of `python WORDS` on so many ranks."""
    return wait(start(words, size, folder, **more))


def alone(words: Sequence[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    """`python WORDS` as a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *words], cwd=folder, env=environment(**more), text=True, **pipes)  # type: ignore[call-overload, no-any-return]
