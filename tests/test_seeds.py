"""Random vectors depend on their path alone."""

from __future__ import annotations

import torch

from landscape import seeds

LIKE = torch.zeros(1)


def test_the_same_path_gives_the_same_vector_in_every_precision() -> None:
    single = seeds.normal(9, LIKE, 3, "a", 1)
    assert torch.equal(single, seeds.normal(9, LIKE, 3, "a", 1))
    assert torch.equal(single.double(), seeds.normal(9, LIKE.double(), 3, "a", 1))


def test_every_part_of_the_path_matters() -> None:
    vectors = [seeds.normal(9, LIKE, *path) for path in [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2)]]
    assert len({tuple(vector.tolist()) for vector in vectors}) == 4


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = seeds.normal(5, LIKE, 0)
    torch.manual_seed(1)
    assert torch.equal(seeds.normal(5, LIKE, 0), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_entries_are_standard_normal() -> None:
    sample = seeds.normal(200_000, LIKE, 0, "moments")
    assert abs(float(sample.mean())) < 5 / 200_000**0.5
    assert abs(float(sample.var()) - 1) < 5 * (2 / 200_000) ** 0.5
