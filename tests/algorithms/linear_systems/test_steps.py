"""Products in pieces of powers of two, and residuals by a product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import symmetric

from landscape.algorithms.linear_systems.state import LinearSystems
from landscape.algorithms.linear_systems.steps import multiply, powers_of_two, residual_of


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(1, 8, [1]), (8, 8, [8]), (13, 8, [8, 4, 1]), (20, 8, [8, 8, 4]), (7, 6, [4, 2, 1])],
    ids=["one", "whole", "three", "twice", "not-a-power"],
)
def test_pieces_are_powers_of_two(count: int, most: int, sizes: list[int]) -> None:
    assert list(powers_of_two(count, most)) == sizes


def test_pieces_give_the_whole_product() -> None:
    matrix, block = symmetric(range(9)), torch.eye(9, dtype=torch.float64)[:, :7]
    assert torch.equal(multiply(matrix, block, 4), matrix.matrix[:, :7])


def test_a_residual_is_the_right_side_less_the_damped_product() -> None:
    matrix, block = symmetric(range(1, 10)), torch.ones(9, 3, dtype=torch.float64)
    systems = LinearSystems(matrix, block, np.array([0.0, 1.0, 2.0]))
    found = residual_of(systems, block[:, 1:], np.array([1, 2]), 8)
    expected = block[:, 1:] - matrix.matrix @ block[:, 1:] - torch.tensor([1.0, 2.0]) * block[:, 1:]
    assert torch.allclose(found, expected)
