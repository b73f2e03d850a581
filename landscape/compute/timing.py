"""How long work takes here: one run, the shortest of several, more of the same work, and the fastest candidate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from landscape.compute import ranks

T = TypeVar("T")
TIMED_ROUNDS = 3  # runs of each candidate after its warm-up; the shortest counts
MAX_TRIAL_SECONDS = 0.5  # a trial that has taken longer times no further round
CLEARLY_FASTER = 0.95  # share of the first candidate's time: timing scatters, and the first is the default


def run_seconds(work: Callable[[], Any]) -> float:
    """The seconds of one run of `work`; a number of its tensor or array is read, which waits for the device."""
    began = time.perf_counter()
    float(work().ravel()[0])
    return time.perf_counter() - began


def shortest_seconds(work: Callable[[], Any], rounds: int) -> float:
    """The seconds of the fastest of `rounds` runs, after one warm-up run."""
    return min([run_seconds(work) for _ in range(rounds + 1)][1:])


def extrapolate(work: Callable[[], Any], samples: int, all_samples: int) -> float:
    """Seconds for the same work on `all_samples`, from one run on `samples` after a warm-up."""
    return shortest_seconds(work, rounds=1) * all_samples / samples


def fastest(works: Mapping[T, Callable[[], Any]]) -> T:
    """The key of the fastest work: the first, unless another is clearly faster. All works have run before."""
    if len(works) == 1 or ranks.current().launched:  # ranks do not see one clock, and their bits follow the choice
        return next(iter(works))
    began, times = time.perf_counter(), dict.fromkeys(works, float("inf"))
    for _ in range(TIMED_ROUNDS):
        times = {key: min(run_seconds(work), times[key]) for key, work in works.items()}
        if time.perf_counter() - began > MAX_TRIAL_SECONDS:
            break
    first, best = next(iter(times)), min(times, key=lambda key: times[key])
    return best if times[best] < CLEARLY_FASTER * times[first] else first
