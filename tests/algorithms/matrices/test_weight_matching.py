"""Weight matching on two layers written out: permutations are undone, and the sum of products never falls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.algorithms.matrices.weight_matching import match_units, permute_units
from landscape.network.permutations import PermutationGroup

UNITS = 7
POSITIONS = torch.arange(UNITS)[:, None]
GROUP = PermutationGroup({("first", 0): POSITIONS, ("bias", 0): POSITIONS, ("second", 1): POSITIONS})


def net(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"first": (UNITS, 5), "bias": (UNITS,), "second": (3, UNITS)}
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def product(here: dict[str, Tensor], there: dict[str, Tensor]) -> float:
    return sum(float((here[name] * there[name]).sum()) for name in here)


def output(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.tanh(x @ tensors["first"].T + tensors["bias"]) @ tensors["second"].T


def test_permuted_units_compute_the_same_function() -> None:
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    permuted = permute_units(net(0), GROUP, order)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(9))
    assert torch.equal(permuted["first"], net(0)["first"][order])
    assert torch.allclose(output(permuted, x), output(net(0), x), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_permutation_of_the_same_net_is_undone(seed: int) -> None:
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(seed))
    back = match_units(net(1), permute_units(net(1), GROUP, order), [GROUP], {"first", "bias", "second"})
    assert all(torch.equal(back[name], tensor) for name, tensor in net(1).items())


def test_one_group_of_another_net_is_matched_optimally() -> None:
    """With one group the assignment is exact: no exchange of two units brings the nets closer."""
    here, there = net(2), net(3)
    best = match_units(here, there, [GROUP], set(here))
    nearest = product(here, best)
    assert nearest > product(here, there)
    for first in range(UNITS):
        for second in range(first):
            order = torch.arange(UNITS)
            order[[first, second]] = order[[second, first]]
            assert product(here, permute_units(best, GROUP, order)) <= nearest + 1e-6


def test_only_the_weights_that_count_decide() -> None:
    order = torch.tensor([1, 0, 2, 3, 4, 5, 6])
    there = {**net(1), "bias": net(1)["bias"][order]}  # the biases alone are exchanged
    kept = match_units(net(1), there, [GROUP], {"first", "second"})
    assert torch.equal(kept["first"], net(1)["first"])
    assert torch.equal(kept["bias"], there["bias"])
