"""Sums in aligned pairs: the same bits however the shares of the data are dealt out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from landscape.compute.aligned_sums import SHARES, AlignedSums, share_count, share_of


def parts(count: int) -> list[Tensor]:
    return list(torch.randn(count, 4000, generator=torch.Generator().manual_seed(count)))


def total(shares: dict[int, list[Tensor]]) -> Tensor | None:
    sums = AlignedSums()
    for share, tensors in shares.items():
        for tensor in tensors:
            sums.add(share, (tensor.clone(),))
    found = sums.total()
    return None if found is None else found[0]


def tree(numbers: dict[int, Tensor], first: int, width: int) -> Tensor | None:
    """The sum by its definition: halves of halves, of which some may be empty."""
    if width == 1:
        return numbers.get(first)
    one, other = tree(numbers, first, width // 2), tree(numbers, first + width // 2, width // 2)
    return other if one is None else one if other is None else one + other


@pytest.mark.parametrize("held", [held for n in range(9) for held in itertools.combinations(range(8), n)][::5])
def test_the_order_is_that_of_the_tree(held: tuple[int, ...]) -> None:
    numbers = dict(zip(held, parts(len(held)), strict=True)) if held else {}
    found, expected = total({share: [tensor] for share, tensor in numbers.items()}), tree(numbers, 0, 8)
    assert (found is None) == (expected is None) == (not held)
    assert found is None or expected is None or torch.equal(found, expected)


def test_parts_of_a_share_are_added_one_after_another() -> None:
    a, b, c, d = parts(4)
    found = total({2: [a, b, c], 5: [d]})
    assert found is not None
    assert torch.equal(found, ((a + b) + c) + d)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_hold_subtrees_whose_sums_make_the_same_bits(processes: int) -> None:
    tensors = parts(8)
    whole = total({share: [tensor] for share, tensor in enumerate(tensors)})
    each = 8 // processes
    sums = [total({s: [tensors[s]] for s in range(rank * each, rank * each + each)}) for rank in range(processes)]
    while len(sums) > 1:
        sums = [one + other for one, other in zip(sums[::2], sums[1::2], strict=True)]  # type: ignore[operator]
    assert whole is not None
    assert sums[0] is not None
    assert torch.equal(sums[0], whole)
    assert not torch.equal(torch.stack(tensors).sum(dim=0), whole)  # another order has other bits


def test_a_part_without_memory_of_its_own_is_copied() -> None:
    sums, number = AlignedSums(), torch.ones(())
    sums.add(0, (number.expand(3),))
    sums.add(0, (torch.arange(3.0),))
    found = sums.total()
    assert found is not None
    assert found[0].tolist() == [1, 2, 3]


def test_shares_cover_the_data_in_order_and_evenly() -> None:
    places = [share_of(position, 50, 8) for position in range(0, 50, 7)]
    assert places == sorted(places)
    assert {share_of(position, 800, 8) for position in range(0, 800, 100)} == set(range(8))
    assert share_of(10**9, 50, 8) == 7
    assert share_count(100) == SHARES
    assert share_count(100, 3) == 8
    assert share_count(100, 9) == 16
    assert share_count(10**8) == 4
