"""What every benchmark shares: interleaved timing, peak memory, and results that say where they come from."""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import platform
import statistics
import subprocess
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape import Objective
from landscape.storage import provenance

try:
    import curvlinops
except ImportError:  # an extra; its rows are then left out
    curvlinops = None

GRADIENTS = 20  # whose median is the unit of time
RESULTS = Path(__file__).parent / "results"
Measure = Callable[[str, int], Any]  # a table, from the device and the number of repeats


def interleaved(
    jobs: Mapping[str, Callable[[], Any]], repeats: int, device: str = "cpu", *, warm: bool = True
) -> dict[str, float]:
    """Median seconds of each job: a warm-up, then the jobs in turn, so that a drifting machine hits all alike.

    Jobs of a minute need no warm-up.
    """
    for job in jobs.values() if warm else ():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # none always after the same other
            _wait(device)
            began = time.perf_counter()
            jobs[name]()
            _wait(device)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_of(job: Callable[[], object], repeats: int = 1) -> float:
    """The median time of a job, which the device has then finished; of one thread on the CPU, without others' work."""
    one = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock, found = time.process_time if one else time.perf_counter, []
    for _ in range(repeats):
        began = clock()
        job()
        found.append(clock() - began)
    return statistics.median(found)


def gradients_of(objective: Objective, job: Callable[[], object], repeats: int, *, warm: bool = True) -> float:
    """The time of a job in gradients over the same data, of the median of runs in turn with gradients."""
    if warm:
        job()
    found = []
    for _ in range(repeats):
        unit = seconds_of(lambda: float(objective.gradient()[0]), GRADIENTS)
        found.append(seconds_of(job) / unit)
    return statistics.median(found)


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


def main(
    name: str,
    tables: Mapping[str, Measure],
    studies: Mapping[str, Measure] = MappingProxyType({}),
    *,
    long: Mapping[str, Measure] = MappingProxyType({}),
    threads: int = 2,
) -> None:
    """Measures the tables, each with (device, repeats), and writes them; with --long or --studies others instead.

    Those of `long` take minutes. Studies are of what is found, not of how fast: they are measured anew when a method
    changes.
    """
    options = argparse.ArgumentParser()
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=threads)
    options.add_argument("--repeats", type=int, default=3)
    kinds = options.add_mutually_exclusive_group()
    kinds.add_argument("--long", action="store_true", help="the tables that take minutes, instead of the others")
    kinds.add_argument("--studies", action="store_true", help="what methods find, instead of how fast they are")
    options.add_argument("--only", default="", help="only the tables whose titles begin so; others in the file stay")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    if hasattr(os, "sched_setaffinity") and chosen.device == "cpu":  # every tool on the same cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.threads])
    warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
    files = {name: tables, f"{name}-long": long, f"{name}-studies": studies}
    if chosen.studies or chosen.long:
        measured = [f"{name}-studies" if chosen.studies else f"{name}-long"]
    else:
        measured = [name, f"{name}-long"] if chosen.only else [name]
    for file in measured:
        titles = [title for title in files[file] if title.startswith(chosen.only)]
        if titles:
            _measure(file, {title: files[file][title] for title in titles}, chosen)


def _measure(file: str, tables: Mapping[str, Measure], chosen: argparse.Namespace) -> None:
    """Measures the tables and writes their file, with --only after each of them, beside the others of this commit."""
    figures: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for title, measure in tables.items():
        began = time.perf_counter()
        figures[title] = measure(chosen.device, chosen.repeats)
        seconds[title] = round(time.perf_counter() - began, 1)
        show(f"{title} ({seconds[title]} s)", figures[title])
        if chosen.only:  # each table is kept as soon as it is there
            _add_earlier(file, chosen.device, figures, seconds)
            write(file, chosen.device, figures, seconds)
    print(f"wrote {write(file, chosen.device, figures, seconds)}")


def _add_earlier(name: str, device: str, figures: dict[str, Any], seconds: dict[str, float]) -> None:
    """Adds the tables that were written before at this commit, in place; those at hand win."""
    path = _path(name, device)
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"about": {"commit": ""}}
    if stored["about"]["commit"] == commit():
        figures.update({title: table for title, table in stored["figures"].items() if title not in figures})
        seconds.update({title: time for title, time in stored["about"]["seconds"].items() if title not in seconds})


def curvlinops_operator(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Any:
    """Their Hessian of a model in eval mode with cross-entropy, without their progress bars."""
    model = copy.deepcopy(model).eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    with contextlib.redirect_stderr(io.StringIO()):
        return curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), parameters, list(batches), check_deterministic=False
        )


def show(title: str, table: Mapping[str, Any]) -> None:
    """Prints a table while the others are still measured."""
    print(f"\n{title}", flush=True)
    rows = table if all(isinstance(row, dict) for row in table.values()) else {"": table}
    for name, row in rows.items():
        print(f"  {name:32s} " + "; ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def write(
    name: str, device: str, figures: Mapping[str, Any], seconds: Mapping[str, float] = MappingProxyType({})
) -> Path:
    """Figures with the machine, versions and commit, and what each table took, as JSON under results/."""
    about = {
        "machine": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if device.startswith("cuda") else _processor(),
        },
        "environment": provenance.environment(),
        "peers": {
            package: provenance.version_of(package)
            for package in ("curvlinops-for-pytorch", "pyhessian", "loss-landscapes", "jax", "kronfluence")
        },
        "commit": commit(),
        "time": provenance.now(),
        "seconds": dict(seconds),
    }
    RESULTS.mkdir(exist_ok=True)
    path = _path(name, device)
    path.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _path(name: str, device: str) -> Path:
    return RESULTS / f"{name}-{device.partition(':')[0]}.json"


def commit() -> str:
    """The commit of the working tree, with `-dirty` behind it if files besides the results differ from it."""
    git = ["git", "-C", str(Path(__file__).parent.parent)]
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    others = [*git, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"]
    changed = subprocess.run(others, capture_output=True, text=True, check=False).stdout
    return name.strip() + ("-dirty" if changed.strip() else "")
