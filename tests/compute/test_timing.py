"""Trials of several ways: which one is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch

from landscape.compute import ranks, timing
from landscape.compute.timing import extrapolate, fastest, shortest_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], Callable[[], torch.Tensor]]:
    """Works whose runs take these seconds, in turn, by a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work(times: list[float]) -> Callable[[], torch.Tensor]:
        each: Iterator[float] = iter(times)

        def run() -> torch.Tensor:
            now[0] += next(each)
            return torch.zeros(2)

        return run

    return work


def test_a_clearly_faster_one_is_taken(clock: Callable[..., Callable[[], torch.Tensor]]) -> None:
    assert fastest({"a": clock([0.01] * 3), "b": clock([0.009] * 3)}) == "b"


def test_the_first_stays_where_the_difference_is_within_the_scatter(
    clock: Callable[..., Callable[[], torch.Tensor]],
) -> None:
    assert fastest({"a": clock([0.01] * 3), "b": clock([0.0097] * 3)}) == "a"


def test_the_shortest_of_the_rounds_counts(clock: Callable[..., Callable[[], torch.Tensor]]) -> None:
    assert fastest({"a": clock([0.01] * 3), "b": clock([0.03, 0.004, 0.03])}) == "b"


def test_a_long_trial_has_one_round(clock: Callable[..., Callable[[], torch.Tensor]]) -> None:
    assert fastest({"a": clock([3.0]), "b": clock([2.0])}) == "b"


def test_one_alone_is_not_run(clock: Callable[..., Callable[[], torch.Tensor]]) -> None:
    assert fastest({"a": clock([])}) == "a"


def test_the_first_run_warms_up(clock: Callable[..., Callable[[], torch.Tensor]]) -> None:
    assert shortest_seconds(clock([0.001, 0.3, 0.2]), 2) == pytest.approx(0.2)


def test_the_time_of_all_samples_follows_from_a_part_after_a_warm_up(
    clock: Callable[..., Callable[[], torch.Tensor]],
) -> None:
    assert extrapolate(clock([0.9, 0.2]), 10, 40) == pytest.approx(0.8)


def test_ranks_take_the_first_candidate_however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> torch.Tensor:
        time.sleep(0.02)
        return torch.ones(1)

    works = {"slow": slow, "fast": lambda: torch.ones(1)}
    assert fastest(works) == "fast"
    monkeypatch.setattr(ranks, "_CURRENT", [ranks.Ranks(0, 1, launched=True)])
    assert fastest(works) == "slow"
