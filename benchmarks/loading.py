"""Loading a checkpoint of 1 GB beside torch's and safetensors' own loaders plus a hash, and refusing hostile files.

One of the files has a thousand Python objects beside its weights, which are passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy
import torch
from safetensors.torch import load_file, save_file

from landscape.checkpoints import read
from landscape.checkpoints.inspection import inspect
from landscape.errors import LandscapeError

HERE = Path(__file__).parent
ROOT = HERE.parent
OBJECTS = 1000  # beside the weights of one file
TENSORS, ITEMS = 64, 4 << 20  # 64 tensors of 16 MiB: 1 GiB
REPEATS = 3


class HistoryBuffer:
    """As mmengine keeps the log of one number."""

    def __init__(self) -> None:
        self.log, self.counts = numpy.arange(50.0), numpy.ones(50)


def files(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """The same gigabyte in several files, each with its own library's loader."""
    generator = torch.Generator().manual_seed(0)
    state = {f"layers.{n}.weight": torch.randn(ITEMS // 4096, 4096, generator=generator) for n in range(TENSORS)}
    save_file(state, folder / "a.safetensors")
    torch.save(state, folder / "a.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": state, "hub": [HistoryBuffer() for _ in range(OBJECTS)]}, folder / "objects.pt")
    plain = lambda path: torch.load(path, weights_only=True)  # noqa: E731
    return {
        "safetensors": (folder / "a.safetensors", load_file),
        "torch": (folder / "a.pt", plain),
        "torch (legacy)": (folder / "old.pt", plain),
        "torch, with objects": (folder / "objects.pt", lambda path: torch.load(path, weights_only=False)),
    }


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak(job: Callable[[], Any]) -> int:
    """Bytes of the process' resident memory that the job adds at its peak, mapped files included."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    kept = job()
    added = _high_water() - before
    del kept
    return added


def fresh_peak(path: Path) -> int:
    """The same of reading a file, in a process that has no freed memory to take it from."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import loading; print(loading.peak_of_reading({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def peak_of_reading(path: str) -> int:
    return peak(lambda: read(path))


def _high_water() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def loading() -> dict[str, dict[str, float]]:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, loader) in files(Path(folder)).items():
            jobs = {"ours": lambda p=path: read(p), "theirs": lambda p=path, f=loader: f(p)}
            jobs |= {"hash": lambda p=path: hashed(p), "inspect": lambda p=path: inspect(p)}
            seconds = harness.interleaved(jobs, REPEATS)
            size = path.stat().st_size
            rows[name] = {
                "seconds": seconds["ours"],
                "own loader, seconds": seconds["theirs"],
                "hash, seconds": seconds["hash"],
                "time / (loader + hash)": seconds["ours"] / (seconds["theirs"] + seconds["hash"]),
                "peak memory / file": fresh_peak(path) / size,
                "inspect, seconds": seconds["inspect"],
            }
    return rows


def refusing() -> dict[str, float]:
    """Every hostile file of the tests: how long and how much memory refusing it takes."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "attacks")]
    import test_attacks

    costs, opened, here = [], 0, Path.cwd()
    for make in test_attacks.ATTACKS.values():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path = make(Path(folder))
            began = time.perf_counter()
            refused = []

            def attempt(path: Path = path, refused: list[Any] = refused) -> None:
                with contextlib.suppress(LandscapeError):
                    test_attacks.opened(path)
                    refused.append(False)

            memory = peak(attempt)
            costs.append((time.perf_counter() - began, memory))
            opened += len(refused) + (Path(folder) / test_attacks.MARKER).exists()
            os.chdir(here)
    seconds, memories = zip(*costs, strict=True)
    return {
        "files": len(costs),
        "opened or run": opened,
        "slowest, seconds": max(seconds),
        "median, seconds": sorted(seconds)[len(seconds) // 2],
        "most memory, MB": max(memories) / 1e6,
    }


if __name__ == "__main__":
    harness.main("loading", {"loading 1 GiB": lambda *_: loading(), "refusing hostile files": lambda *_: refusing()})
