"""Random parts of the samples are nested, without repetition, and in random order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.random_samples import on_random_samples

NUMBERS = torch.arange(24.0, dtype=torch.float64)


def numbered(data: object) -> Objective:
    """One output for each sample, whose target is its number."""
    return Objective(nn.Linear(1, 1), data, "mse", dtype="float64")


def numbers_of(objective: Objective) -> list[int]:
    return [int(number) for batch in objective.batches for number in batch.targets.flatten()]


@pytest.mark.parametrize("count", [1, 5, 24])
def test_a_larger_part_holds_every_smaller_one(split: Splitter, count: int) -> None:
    objective = numbered(split(NUMBERS[:, None].clone(), NUMBERS[:, None].clone()))
    for seed in (0, 1):
        drawn = numbers_of(on_random_samples(objective, count, seed))
        assert len(set(drawn)) == len(drawn) == count
        assert set(drawn) <= set(numbers_of(on_random_samples(objective, min(2 * count, 24), seed)))
    assert count == 24 or drawn != numbers_of(on_random_samples(objective, count, 0))


def test_sorted_data_are_shuffled() -> None:
    objective = numbered((NUMBERS[:, None], NUMBERS[:, None]))
    drawn = numbers_of(on_random_samples(objective, 24, 0))
    assert sorted(drawn) == list(range(24))
    assert 6 <= sum(drawn[:12]) / 12 <= 17
    assert sum(abs(one - other) == 1 for one, other in pairwise(drawn)) < 6


def test_the_loss_of_all_samples_is_the_same(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    part = on_random_samples(objective, 24, 3)
    assert part.batches.samples == 24
    assert float(part.value()) == pytest.approx(float(objective.value()), rel=1e-13)


def test_a_buffer_that_a_loader_fills_again_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader:
        """Fills one buffer again and again."""

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            buffer = torch.empty(4, 1, dtype=torch.float64)
            for part in NUMBERS.split(4):
                buffer.copy_(part[:, None])
                yield buffer, buffer

    monkeypatch.setattr("landscape.objective.preparation.room", lambda *_: 0)
    objective = numbered(Loader())
    drawn = numbers_of(on_random_samples(objective, 10, 0))
    assert len(set(drawn)) == 10
    if not objective.batches.kept:
        assert on_random_samples(objective, 24, 0) is objective


def test_batches_that_must_stay_whole_are_refused(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy").variant(as_given=True)
    with pytest.raises(TaskError, match="depends on where batches end"):
        on_random_samples(objective, 5, 0)
