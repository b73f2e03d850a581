"""The list of starts, and the eigenvectors that some of them follow."""

from __future__ import annotations

import numpy as np
import torch
from oracles.dense import symmetric

from landscape.algorithms.ascent import starts
from landscape.algorithms.ascent.ball import Ball


def test_the_first_starts_are_the_gradient_its_opposite_and_eigenvectors() -> None:
    assert starts.start_names(5) == ("+gradient", "-gradient", "+v1", "-v1", "random 1")
    assert starts.start_names(11)[-3:] == ("random 3", "random 4", "random 5")
    assert len(set(starts.start_names(40))) == 40
    assert [starts.eigenvector_count(count) for count in (0, 1, 2, 3, 5, 6, 9)] == [0, 0, 0, 1, 1, 2, 2]


def test_starts_lie_on_the_sphere_along_their_directions() -> None:
    slope = torch.arange(1.0, 7.0)
    vectors = torch.eye(6)[:2]
    rows = starts.start_points(9, Ball("l2", 0.5), slope, vectors, slope > 2, seed=0)
    assert torch.allclose(rows.norm(dim=1), torch.full((9,), 0.5))
    assert torch.allclose(rows[0], 0.5 * slope / slope.norm())
    assert torch.equal(rows[1], -rows[0])
    assert torch.equal(rows[2], 0.5 * torch.eye(6)[0])
    assert torch.equal(rows[6], -0.5 * torch.eye(6)[1])
    for random in (4, 7, 8):
        assert not rows[random][:2].any()  # what cannot move
    assert not torch.equal(rows[7], rows[8])
    assert torch.equal(rows, starts.start_points(9, Ball("l2", 0.5), slope, vectors, slope > 2, seed=0))
    assert not torch.equal(rows, starts.start_points(9, Ball("l2", 0.5), slope, vectors, slope > 2, seed=1))


def test_without_eigenvectors_random_starts_take_their_place() -> None:
    slope = torch.ones(6)
    rows = starts.start_points(5, Ball("linf", 1.0), slope, torch.zeros(0, 6), slope > 0, seed=0)
    assert (rows.abs() == 1).all()
    assert len({tuple(row.tolist()) for row in rows}) == 5


def test_leading_eigenvectors_from_a_small_basis() -> None:
    operator = symmetric([*np.linspace(-3, 3, 60), 9.0, 7.0])
    *_, state = starts.eigenvector_search(operator, 2, 0, 10, None)
    vectors, values = starts.leading_eigenvectors(state, 2)
    assert np.allclose(values, [9, 7], rtol=0.01)
    for vector, value in zip(vectors, (9.0, 7.0), strict=True):
        assert float((operator @ vector - value * vector).norm()) < 0.05 * value * 1.5
