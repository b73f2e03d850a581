"""Random vectors depend on their path alone."""

from __future__ import annotations

import torch

from landscape import seeds
from landscape.storage.provenance import STREAM, STREAM_CHUNK

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


def test_a_sample_s_uniform_numbers_depend_on_its_place_alone() -> None:
    like = torch.zeros(1)
    whole = seeds.uniform(0, (3000, 2, 3), like, 7, "labels")
    parts = [
        seeds.uniform(first, (size, 2, 3), like, 7, "labels") for first, size in ((0, 1000), (1000, 24), (1024, 1976))
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(seeds.uniform(1500, (1, 2, 3), like, 7, "labels"), whole[1500:1501])
    assert not torch.equal(seeds.uniform(0, (4, 6), like, 8, "labels"), whole[:4].reshape(4, 6))


def test_uniform_numbers_are_uniform_and_never_at_the_ends() -> None:
    numbers = seeds.uniform(0, (20_000,), torch.zeros(1), 0, "x").sort().values
    ideal = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    assert float((numbers - ideal).abs().max()) < 1.63 / 20_000**0.5  # Kolmogorov and Smirnov, 1 % level
    assert 0 < numbers[0] < numbers[-1] < 1


def test_long_vectors_are_drawn_by_chunks_that_need_none_of_those_before() -> None:
    size = 2 * seeds.CHUNK + 5
    whole = seeds.normal(size, LIKE, 4, "long")
    assert torch.equal(whole[: seeds.CHUNK], seeds.normal(seeds.CHUNK, LIKE, 4, "long"))
    assert torch.equal(whole[2 * seeds.CHUNK :], seeds.normal(5, LIKE, 4, "long", "chunk", 2))
    assert not torch.equal(whole[:5], whole[2 * seeds.CHUNK :])
    filled = torch.empty(size, dtype=torch.float64)
    assert torch.equal(seeds.fill_normal(filled, 4, "long"), whole.double())


def test_results_name_the_stream_of_these_chunks() -> None:
    assert seeds.CHUNK == STREAM_CHUNK == 2**20
    assert "2^20" in STREAM
