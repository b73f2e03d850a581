"""Vectors in parts: every entry has one place, whole tensors come back, and sums are those of whole vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import orthogonalize, rotate, unit_vector
from landscape.compute import inner_products
from landscape.compute.ranks import Ranks
from landscape.compute.shards import Shards, add_in_pairs, in_force, length_here, whole_length

SIZES = (7, 1, 12, 5)


def parts(size: int) -> list[Shards]:
    return [Shards(SIZES, Ranks(rank, size)) for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_every_entry_has_one_place_and_padding_is_zero(size: int) -> None:
    whole = torch.arange(1.0, sum(SIZES) + 1)
    vectors = [torch.full((shards.length,), 0.0) for shards in parts(size)]
    for shards, vector in zip(parts(size), vectors, strict=True):
        for index, tensor in enumerate(torch.split(whole, SIZES)):
            shards.put(vector, index, tensor)
    held = torch.cat(vectors)
    assert sorted(held[held != 0].tolist()) == whole.tolist()
    by_range = [torch.zeros(shards.length) for shards in parts(size)]
    for shards, vector in zip(parts(size), by_range, strict=True):
        for first in range(0, len(whole), 4):
            shards.put_range(vector, first, whole[first : first + 4])
    assert torch.equal(torch.cat(by_range), held)


def test_pieces_are_the_same_on_one_two_and_four_ranks() -> None:
    whole = torch.arange(1.0, sum(SIZES) + 1)
    held = []
    for size in (1, 2, 4):
        vectors = [torch.zeros(shards.length) for shards in parts(size)]
        for shards, vector in zip(parts(size), vectors, strict=True):
            shards.put_range(vector, 0, whole)
        held.append(torch.cat(vectors))
    assert torch.equal(held[0], held[1])
    assert torch.equal(held[0], held[2])


@pytest.fixture
def alone() -> Shards:
    return Shards(SIZES)


def numbers(shards: Shards, *shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Whole rows and what one rank holds of them."""
    whole = torch.randn((*shape, shards.size), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    held = torch.zeros((*shape, shards.length), dtype=torch.float64)
    for row, out in zip(whole.view(-1, shards.size), held.view(-1, shards.length), strict=True):
        shards.put_range(out, 0, row)
    return whole, held


def test_whole_tensors_come_back(alone: Shards) -> None:
    whole, held = numbers(alone)
    assert torch.equal(torch.cat(alone.gather(held, range(len(SIZES)))), whole)
    third, first = alone.gather(held, [2, 0])
    assert torch.equal(third, whole[8:20])
    assert torch.equal(first, whole[:7])


def test_scattered_tensors_lie_where_vectors_have_them(alone: Shards) -> None:
    whole, held = numbers(alone)
    tensors = torch.split(whole, SIZES)
    found = alone.scatter([tensors[2], tensors[0].view(7, 1)], [2, 0], (True,))
    expected = torch.cat([alone.part(held, 2), alone.part(held, 0)], dim=1)
    assert torch.equal(found, expected)


class Pair(Ranks):
    """Two ranks of which the other one sends the same."""

    def swap(self, message: Tensor, label: int = 0) -> Tensor:
        return message[:1].repeat(2, 1)


def test_what_is_scattered_takes_the_memory_of_its_part_alone() -> None:
    shards = Shards(SIZES, Pair(0, 2))
    whole = torch.arange(12.0)
    found = shards.scatter([whole], [2], (True, True))
    assert torch.equal(found, 2 * whole[:6].view(2, 3))
    assert found.untyped_storage().nbytes() == found.nbytes
    assert torch.equal(shards.scatter([whole], [2], (False, True)), whole[:6].view(2, 3))


def test_inner_products_are_those_of_whole_vectors(alone: Shards) -> None:
    (whole, held), (other, held_other) = numbers(alone, 3), numbers(alone, 3, seed=1)
    expected = {
        "dot": inner_products.dot(whole[0], other[0]),
        "norm": inner_products.norm(whole[1]),
        "norm of rows": inner_products.norm(whole),
        "distance": inner_products.distance(whole[0], other[1]),
    }
    with in_force(alone):
        found = {
            "dot": inner_products.dot(held[0], held_other[0]),
            "norm": inner_products.norm(held[1]),
            "norm of rows": inner_products.norm(held),
            "distance": inner_products.distance(held[0], held_other[1]),
        }
        assert found == pytest.approx(expected, rel=1e-14)
        for name in ("row_dots", "gram", "overlaps"):
            function = getattr(inner_products, name)
            torch.testing.assert_close(function(held, held_other), function(whole, other), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(inner_products.row_norms(held), whole.norm(dim=1), rtol=1e-13, atol=0)
        torch.testing.assert_close(inner_products.row_norms(held, 1.0), whole.abs().sum(dim=1), rtol=1e-13, atol=0)


def test_padding_does_not_count(alone: Shards) -> None:
    with in_force(alone):
        assert whole_length(alone.length) == alone.size == length_here(alone.length) - (alone.length - alone.size)
        assert length_here(alone.size) == alone.length
        assert inner_products.norm(unit_vector(alone.size, torch.zeros(1), 8)) == 1.0
    assert whole_length(alone.length) == alone.length


def test_random_vectors_are_those_of_whole_ones(alone: Shards) -> None:
    like = torch.zeros(1)
    with in_force(alone):
        held = seeds.normal_vector(alone.size, like, 3, "start")
    whole = torch.cat(alone.gather(held, range(len(SIZES))))
    assert torch.equal(whole, seeds.normal(alone.size, like, 3, "start"))


def test_rows_are_orthogonalized_and_rotated_in_parts(alone: Shards) -> None:
    whole, held = numbers(alone, 4)
    vectors, held_vectors = numbers(alone, 2, seed=2)
    rows, held_rows = (torch.linalg.qr(whole.T)[0].T.contiguous() for _ in range(2))
    held_rows = torch.zeros_like(held)
    for row, out in zip(rows, held_rows, strict=True):
        alone.put_range(out, 0, row)
    expected = orthogonalize(vectors, rows)
    coefficients = torch.randn(3, 4, dtype=torch.float64).numpy()
    out, held_out = torch.zeros_like(whole[:3]), torch.zeros_like(held[:3])
    rotate(rows, coefficients, out)
    with in_force(alone):
        assert orthogonalize(held_vectors, held_rows) == pytest.approx(expected, abs=1e-13)
        rotate(held_rows, coefficients, held_out)
    for row, expected_row in zip([*held_vectors, *held_out], [*vectors, *out], strict=True):
        back = torch.cat(alone.gather(row, range(len(SIZES))))
        torch.testing.assert_close(back, expected_row, rtol=1e-12, atol=1e-13)


def test_ranks_without_anything_do_not_count() -> None:
    one, two, three = torch.tensor([1e8]), torch.tensor([1.0]), torch.tensor([-1e8])
    assert add_in_pairs([None, one.clone(), None, None]) == one
    assert add_in_pairs([None, None]) is None
    first = add_in_pairs([one.clone(), three.clone(), two.clone(), None])
    assert first == two  # pairs first: (1e8 - 1e8) + 1
