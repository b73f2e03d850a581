"""One command in a process of its own, for scale.py: its peak of memory beyond the interpreter, and its seconds."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import h5py  # noqa: F401  # libraries are loaded before memory is counted
import matplotlib.backends.backend_agg  # noqa: F401
import scipy.linalg  # noqa: F401
import sympy  # noqa: F401
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

import landscape
import landscape.figures
import landscape.session
from landscape.conditions import Conditions
from landscape.loading import load
from landscape.planning.words import peak_bytes
from landscape_cli.main import status


def resident() -> int:
    """The bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(words: list[str], limit: int) -> dict[str, float]:
    """The exit code, the peak and the seconds of a command; `limit` bytes beyond what the process has, or 0."""
    before = resident()
    if limit:
        allocated = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (allocated + limit, allocated + limit))
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = status(words)
    seconds = time.perf_counter() - began
    sys.stderr.write(printed.getvalue())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"code": code, "bytes": peak, "seconds": seconds}


def plan(command: str, options: dict[str, Any], folder: str, data: str) -> dict[str, float]:
    """What a plan says: the peak with the model, products, seconds; and the passes that it made, in gradients."""
    passes = {"forward": 0, "backward": 0}
    original = GPT2LMHeadModel.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = original(self, *args, **kwargs)
        logits: Tensor = output.logits
        passes["forward"] += len(logits)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: passes.update(backward=passes["backward"] + len(gradient)))
        return output

    GPT2LMHeadModel.forward = counted
    began = time.perf_counter()
    objective = load(folder, Conditions(data=data), planned=True)
    analysis = next(kind for kind in landscape.analyses.ANALYSES if kind.name == command)(**options)
    found = analysis.plan(objective)
    return {
        "bytes": peak_bytes(objective, found),
        "P": objective.space.size * 4,
        "seconds": found.seconds,
        "gradient": objective.sample_cost.seconds * objective.batches.samples if objective.sample_cost else 0.0,
        "took": time.perf_counter() - began,
        "passes": (passes["forward"] + 2 * passes["backward"]) / 3 / objective.largest_micro_batch,
    }


def gradient(folder: str, data: str) -> dict[str, float]:
    """The seconds of one gradient over all data, the faster of two after one that warms up."""
    objective = load(folder, Conditions(data=data))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        objective.gradient()
        times.append(time.perf_counter() - began)
    return {"seconds": min(times[1:]), "P": objective.space.size * 4}


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job.pop("threads"))
    kind = job.pop("kind")
    print(json.dumps({"run": run, "plan": plan, "gradient": gradient}[kind](**job)))
