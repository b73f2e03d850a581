"""What every benchmark shares: interleaved timing, peak memory, and results that say where they come from."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape import provenance

RESULTS = Path(__file__).parent / "results"


def interleaved(jobs: Mapping[str, Callable[[], Any]], repeats: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each job: a warm-up, then the jobs in turn, so that a drifting machine hits all alike."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            _wait(device)
            began = time.perf_counter()
            job()
            _wait(device)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Peak(TorchDispatchMode):
    """Counts the bytes of all storages alive at once while it is active, op by op, on any device.

    Workspaces inside an operation are not seen; what is allocated before is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage(), inputs)
        return out

    def _count(self, storage: Any, inputs: set[int]) -> None:
        key = storage.data_ptr()
        if key in self._known or key in inputs or not storage.nbytes():
            return
        self._known[key] = storage.nbytes()
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self.alive -= self._known.pop(key, 0)


def peak_bytes(job: Callable[[], Any]) -> int:
    """The most bytes that the job holds at once."""
    job()
    with Peak() as peak:
        job()
    return peak.peak


def show(title: str, table: Mapping[str, Any]) -> None:
    """Prints a table while the others are still measured."""
    print(f"\n{title}", flush=True)
    rows = table if all(isinstance(row, dict) for row in table.values()) else {"": table}
    for name, row in rows.items():
        print(f"  {name:32s} " + "; ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def write(name: str, device: str, figures: Mapping[str, Any]) -> Path:
    """Figures with the machine, versions and commit, as JSON under results/."""
    about = {
        "machine": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if device.startswith("cuda") else _processor(),
        },
        "environment": provenance.environment(),
        "peers": {
            package: provenance.installed(package)
            for package in ("curvlinops-for-pytorch", "pyhessian", "loss-landscapes")
        },
        "commit": _commit(),
        "time": provenance.now(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device.partition(':')[0]}.json"
    path.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
