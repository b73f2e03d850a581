"""Steps deal out all micro-batches, and sums do not depend on how many ranks there are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape.compute.ranks import Ranks
from landscape.compute.shards import Shards, add_in_pairs
from landscape.data.batches import Batch
from landscape.network.units import Unit
from landscape.objective.sharded.sums import PartSums, steps


def batches(count: int) -> list[Batch]:
    return [Batch(torch.full((1, 1), float(n)), torch.zeros(1), n) for n in range(count)]


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_micro_batch_is_one_rank_s_and_all_make_as_many_steps(count: int, size: int) -> None:
    by_rank = [list(steps(batches(count), Shards((1,), Ranks(rank, size)))) for rank in range(size)]
    assert len({len(found) for found in by_rank}) == 1
    owned = [step.batch.first for rank, found in enumerate(by_rank) for step in found if step.having[rank]]
    assert sorted(owned) == list(range(count))
    assert all(len({step.having for step in row}) == 1 for row in zip(*by_rank, strict=True))
    assert by_rank[0][-1].ends_group


def sums(values: list[Tensor], size: int) -> Tensor:
    """The sum over micro-batches of vectors that one unit adds in two places of the model, on so many ranks."""
    shards = Shards((8,), Ranks(0, 1))
    found = PartSums(shards, [Unit(1, nn.Identity(), {"weight": 0}, {})], torch.zeros(1))
    by_rank = [list(steps(batches(len(values)), Shards((8,), Ranks(rank, size)))) for rank in range(size)]
    for row in zip(*by_rank, strict=True):
        for place in ("forward", "gradient"):
            parts = [
                (values[step.batch.first] * (1 if place == "forward" else 0.3)).clone() if step.having[rank] else None
                for rank, step in enumerate(row)
            ]
            total = add_in_pairs(parts)
            assert total is not None
            found.take((1, place, 0), total.view(4, 2))
        if row[0].ends_group:
            found.end_group()
    return found.total()


@pytest.mark.parametrize("count", [1, 3, 4, 6, 13])
def test_one_two_and_four_ranks_add_in_one_order(count: int) -> None:
    values = list(torch.randn(count, 8, generator=torch.Generator().manual_seed(0)))
    alone = sums(values, 1)
    torch.testing.assert_close(alone, 1.3 * torch.stack(values).sum(dim=0), rtol=1e-5, atol=1e-5)
    assert torch.equal(sums(values, 2), alone)
    assert torch.equal(sums(values, 4), alone)


def test_tensors_that_no_unit_adds_to_are_zero() -> None:
    shards = Shards((4, 8), Ranks(0, 1))
    found = PartSums(shards, [Unit(1, nn.Identity(), {"weight": 1}, {})], torch.zeros(1))
    found.take((1, "forward", 0), torch.ones(4, 2))
    found.end_group()
    total = found.total()
    assert shards.part(total, 0).abs().sum() == 0
    assert shards.part(total, 1).sum() == 8
