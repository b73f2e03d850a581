"""What `landscape check` costs beyond its measurements, and how far other guises of the weights move its numbers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import harness
import torch
from torch import Tensor

import landscape
from landscape.analyses import ANALYSES
from landscape.gates import measuring
from landscape.gates.entry import Entry
from landscape.gates.policy import DEFAULT_OPTIONS, parse_policy
from landscape.objective import Objective
from landscape.storage.read import read_results
from landscape_cli.settings_values import record_from_settings

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
REPEATS = 15
KINDS = {analysis.name: analysis for analysis in ANALYSES}


def seconds(command: list[str], folder: Path) -> float:
    """The wall time of a process."""
    quiet = {name: value for name, value in os.environ.items() if name != "CI"}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=quiet)
    return time.perf_counter() - began


def costs(name: str, folder: Path) -> dict[str, float]:
    """The whole command beside what its results say that their measurement took."""
    landscape_command = [sys.executable, "-m", "landscape_cli", "check"]
    sample = [str(SAMPLES / f"{name}.pt"), "-o", f"{folder}/"]
    seconds([*landscape_command, *sample, "--update"], folder)
    whole = seconds([*landscape_command, *sample], folder)
    results = folder / f"{name}.check.landscape.h5"
    measured = sum(group.attributes["wall_time_s"] for group in read_results(results).values())
    again = statistics.median(seconds([*landscape_command, "--from", results.name], folder) for _ in range(5))
    return {"check [s]": whole, "its measurements [s]": measured, "ratio": whole / measured, "--from [s]": again}


def plugin(folder: Path) -> dict[str, float]:
    """A pytest run that does not use the plugin, with it and without it, in turn."""
    (folder / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_nothing.py"]
    runs: Mapping[str, list[str]] = {"with": base, "without": [*base, "-p", "no:landscape"]}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, command in runs.items():
            found[name].append(seconds(command, folder))
    middle = {name: 1000 * statistics.median(values) for name, values in found.items()}
    return {
        "with [ms]": middle["with"],
        "without [ms]": middle["without"],
        "adds [ms]": middle["with"] - middle["without"],
    }


def guises(name: str) -> dict[str, dict[str, float]]:
    """Changes in per cent of every metric of the usual policy, for the same weights in other guises."""
    path, rules = SAMPLES / f"{name}.pt", parse_policy()
    analyses = [record_from_settings(KINDS[one], DEFAULT_OPTIONS[one]) for one in rules.analyses]

    def measured(load: Callable[[], Objective], seed: int = 0) -> Entry:
        work = measuring.MeasurementSetup([measuring.with_seed_offset(analysis, seed) for analysis in analyses])
        return measuring.measure_entry(name, load, rules, work)

    def rounded(change: Callable[[Tensor], Tensor]) -> Callable[[], Objective]:
        def load() -> Objective:
            objective = landscape.load(path)
            objective.theta = change(objective.theta)
            return objective

        return load

    def in_threads(count: int) -> Callable[[], Objective]:
        def load() -> Objective:
            torch.set_num_threads(count)
            return landscape.load(path)

        return load

    threads = torch.get_num_threads()
    loads: Mapping[str, tuple[Callable[[], Objective], int]] = {
        "bf16 and back": (rounded(lambda theta: theta.bfloat16().to(theta)), 0),
        "fp16 and back": (rounded(lambda theta: theta.half().to(theta)), 0),
        "micro-batch of 100": (lambda: landscape.load(path, micro_batch=100), 0),
        "one thread": (in_threads(1), 0),
        "another seed": (lambda: landscape.load(path), 1),
        "weights x 0.987": (rounded(lambda theta: 0.987 * theta), 0),
    }
    baseline = measured(lambda: landscape.load(path))
    found: dict[str, dict[str, float]] = {}
    for guise, (load, seed) in loads.items():
        entry = measured(load, seed)
        torch.set_num_threads(threads)
        changes = {m: entry.readings[m].value / baseline.readings[m].value - 1 for m in baseline.readings}
        found[guise] = {f"{metric} [%]": 100 * change for metric, change in changes.items()}
    return found


def commands(device: str, repeats: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        return {name: costs(name, Path(folder)) for name in ("digits-mlp", "digits-resnet")}


def unused(device: str, repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return plugin(Path(folder))


if __name__ == "__main__":
    harness.main(
        "check",
        {},
        {
            "The command beside its measurements": commands,
            "The pytest plugin in a run that does not use it": unused,
            "The same weights in another guise: digits-mlp": lambda *_: guises("digits-mlp"),
            "The same weights in another guise: digits-resnet": lambda *_: guises("digits-resnet"),
        },
    )
