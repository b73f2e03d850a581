"""Short trials: which of several ways of the same work takes least time here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
ROUNDS = 3  # timed runs of each, after a warm-up; the shortest counts
LONG = 0.5  # seconds after which a trial of all has no further round
CLEARLY = 0.95  # of the first one's time: timing scatters, and the first is what is taken without a trial


def seconds(work: Callable[[], Any]) -> float:
    """The time of one run; reading a number of its tensor or array waits for the device."""
    began = time.perf_counter()
    float(work().ravel()[0])
    return time.perf_counter() - began


def shortest(work: Callable[[], Any], rounds: int) -> float:
    """The shortest time of some runs, after a warm-up."""
    return min([seconds(work) for _ in range(rounds + 1)][1:])


def fastest(works: Mapping[T, Callable[[], Any]]) -> T:
    """The key of the work that takes least time: the first, unless another is clearly faster. All have run before."""
    if len(works) == 1:
        return next(iter(works))
    began, times = time.perf_counter(), dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        times = {key: min(seconds(work), times[key]) for key, work in works.items()}
        if time.perf_counter() - began > LONG:
            break
    first, best = next(iter(times)), min(times, key=lambda key: times[key])
    return best if times[best] < CLEARLY * times[first] else first
