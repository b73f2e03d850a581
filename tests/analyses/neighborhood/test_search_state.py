"""States of a worst-case search: their beginning, the parts that they collect, and their snapshots."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.analyses.neighborhood.search_state import (
    BallSearch,
    WorstCaseState,
    append_part,
    begin_part,
    no_maxima,
)

SEARCH = BallSearch("l2", (0.1, 0.2), starts=3, steps=5, samples=4, seed=0)


@pytest.mark.parametrize(
    ("starts", "radii", "columns"),
    [(3, (0.1, 0.2), 4), (3, (0.1,), 3), (1, (0.1, 0.2), 1)],
    ids=["curve", "one-radius", "one-start"],
)
def test_larger_radii_have_one_start_more(starts: int, radii: tuple[float, ...], columns: int) -> None:
    assert replace(SEARCH, starts=starts, radii=radii).columns == columns


def test_parts_are_collected_in_order() -> None:
    maxima = no_maxima(SEARCH, groups=2)
    assert len(maxima.weights) == 0
    for count in (4, 3):
        state = begin_part(count, SEARCH, groups=2)
        assert np.isnan(state.rises).all()
        state = replace(state, dual=0.5, rises=np.full((2, 4), float(count)), evaluations=10, gradients=14.0)
        maxima = append_part(maxima, state, share=count / 7)
    assert maxima.weights.tolist() == [4, 3]
    assert maxima.rises.shape == (2, 2, 4)
    assert maxima.rises[:, 0, 0].tolist() == [4, 3]
    assert maxima.shares.shape == (2, 2)
    assert maxima.evaluations == 20
    assert maxima.gradients == pytest.approx(14)


def test_a_snapshot_in_the_middle_of_a_part_holds_the_earlier_parts_too() -> None:
    first = replace(begin_part(4, SEARCH, groups=0), dual=0.5, rises=np.ones((2, 4)), evaluations=7)
    vectors = torch.arange(6.0).reshape(2, 3)
    second = replace(begin_part(3, SEARCH, groups=0), radius=1, vectors=vectors, best=vectors[0])
    whole = WorstCaseState(1, append_part(no_maxima(SEARCH, groups=0), first, 0.5), second)
    again = restore(WorstCaseState, snapshot(whole), like=vectors)
    assert again.part == 1
    for part in fields(BallMaxima):
        left, right = (getattr(state.finished, part.name) for state in (whole, again))
        assert np.array_equal(left, right, equal_nan=True)
    assert again.current is not None
    assert again.current.radius == 1
    assert again.current.vectors is not None
    assert torch.equal(again.current.vectors, vectors)
    assert again.current.lanczos is None
    vectors.zero_()  # a snapshot is a copy
    assert float(again.current.vectors.sum()) == 15
