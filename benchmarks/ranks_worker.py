"""One rank of a job for ranks.py: its CPU seconds, its seconds in sums over ranks, and the bits of the result."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranks_parts import measure_parts
from torch import nn

import landscape
from landscape.compute import ranks
from landscape.evaluation.sweep import Plane, Sweep
from landscape.operators import HessianOperator

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
PRODUCTS, POINTS = 6, 12
IN_SUMS = [0.0]


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, whose seconds are added up."""

    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            IN_SUMS[0] += time.perf_counter() - began

    return call


def products() -> Callable[[], np.ndarray]:
    """Products with one vector, after two that warm up and keep graphs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 1024), nn.Tanh(), nn.Linear(1024, 960), nn.Tanh(), nn.Linear(960, 10))
    data = (torch.randn(4096, 256), torch.randint(0, 10, (4096,)))
    objective = landscape.Objective(model, data, "cross_entropy")
    operator, column = HessianOperator(objective), torch.randn(objective.space.size, 1)

    def work() -> np.ndarray:
        for _ in range(PRODUCTS):
            product = operator @ column
        return product.numpy()

    operator @ column
    operator @ column
    return work


def points() -> Callable[[], np.ndarray]:
    """Points of a line."""
    objective = landscape.load(SAMPLES / "digits-resnet.pt", limit=512)
    sweep, plane = (
        Sweep(objective),
        Plane((torch.randn(objective.space.size, generator=torch.Generator().manual_seed(0)),)),
    )
    sweep.choose_settings(plane)
    coordinates = [[0.01 * n] for n in range(POINTS)]
    sweep.evaluate(plane, coordinates[:1])
    return lambda: sweep.evaluate(plane, coordinates)


torch.set_num_threads(1)
together = ranks.join()
if sys.argv[1] == "parts":
    found = measure_parts()
    spent = resource.getrusage(resource.RUSAGE_SELF)
    found["peak"] = max(together.gather(found["peak"], "peaks"))
    found["cpu"] = max(together.gather(spent.ru_utime + spent.ru_stime, "CPU seconds"))
    if together.is_first:
        print(json.dumps(found))
    ranks.leave()
    sys.exit()
work = {"products": products, "points": points}[sys.argv[1]]()
ranks.Ranks.sum = timed(ranks.Ranks.sum)  # type: ignore[method-assign]
began, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
result = work()
seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
cpu = max(together.gather(spent, "CPU seconds"))
if together.is_first:
    bits = int(np.ascontiguousarray(result).view(np.uint8).astype(np.uint64).cumsum()[-1])
    print(json.dumps({"cpu": cpu, "seconds": seconds, "sums": IN_SUMS[0], "bits": bits}))
ranks.leave()
