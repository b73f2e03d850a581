"""States of the estimator of a diagonal: snapshots, random signs, and the part that a sketch knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from oracles.dense import symmetric

from landscape.algorithms.estimators.diagonal.state import (
    DiagonalGoal,
    DiagonalState,
    initial_diagonal_state,
    sign_probe,
    sketch_diagonal,
)
from landscape.algorithms.snapshots import restore, snapshot

LIKE = torch.zeros(1, dtype=torch.float64)


def test_the_sketch_s_diagonal_is_that_of_the_parts_along_q() -> None:
    matrix = symmetric(np.linspace(-1, 4, 30)).matrix
    q, _ = torch.linalg.qr(torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    state = initial_diagonal_state(LIKE, 30, 0, DiagonalGoal(0.1, 10, 8))
    state.basis[:5], state.images[:5] = q.T, (matrix @ q).T
    rest = torch.eye(30, dtype=torch.float64) - q @ q.T
    expected = matrix - rest @ matrix @ rest
    np.testing.assert_allclose(sketch_diagonal(replace(state, rank=5)), expected.diag(), atol=1e-12)
    assert not sketch_diagonal(state).any()


def test_probes_are_signs_and_functions_of_their_path() -> None:
    one, other = (sign_probe(1000, LIKE, 0, "other", index) for index in (0, 1))
    assert set(one.tolist()) == {-1.0, 1.0}
    assert abs(float(one.mean())) < 0.15
    assert abs(float((one * other).mean())) < 0.15
    assert torch.equal(one, sign_probe(1000, LIKE, 0, "other", 0))
    assert not torch.equal(one, sign_probe(1000, LIKE, 1, "other", 0))


def test_a_snapshot_restores_the_state() -> None:
    state = initial_diagonal_state(LIKE, 6, 2, DiagonalGoal(0.1, 10, 8))
    state = replace(state, rank=2, mean=np.arange(6.0), group_values=np.ones((3, 2)), products=9)
    state.basis.fill_(2.0)
    state.images.fill_(3.0)
    again = restore(DiagonalState, {name: part.copy() for name, part in snapshot(state).items()}, LIKE)
    assert torch.equal(again.basis[:2], state.basis[:2])
    assert again.basis.shape == state.basis.shape
    assert (again.rank, again.products, again.probes, again.size) == (2, 9, 3, 6)
    assert again.mean.dtype == np.float64


def test_one_probe_has_no_error_that_is_known() -> None:
    state = initial_diagonal_state(LIKE, 4, 1, DiagonalGoal(0.1, 10, 0))
    one = replace(state, group_values=np.ones((1, 1)))
    assert np.isinf(one.variance()).all()
    assert np.isnan(one.group_variance()).all()
    two = replace(state, group_values=np.array([[1.0], [3.0]]), scatter=np.full(4, 2.0))
    assert two.variance().tolist() == [1.0] * 4
    assert two.group_variance().tolist() == [1.0]


def test_entries_that_are_not_yet_computed_are_unknown() -> None:
    part = replace(initial_diagonal_state(LIKE, 4, 0, DiagonalGoal(0.1, 10, 0)), exact=2)
    assert np.isnan(part.diagonal()).tolist() == [False, False, True, True]
    assert np.isinf(part.variance()).tolist() == [False, False, True, True]
    assert not part.complete
