"""Sign flips in boxes against the enumeration of all corners."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.algorithms.ascent.ascent import AscentState, EvaluateRows, ascend
from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.ascent.flips import polish_corners

BOX = Ball("linf", 1.0)


def form(matrix: Tensor, slope: Tensor) -> EvaluateRows:
    """slope'u + u'A u / 2."""

    def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
        return (rows @ slope + ((rows @ matrix) * rows).sum(dim=1) / 2).numpy(), slope + rows @ matrix

    return evaluate


def ended(evaluate: EvaluateRows, *starts: list[float]) -> AscentState:
    """The ends of ascents from these corners."""
    points = torch.tensor(starts, dtype=torch.float64)
    *_, state = ascend(evaluate, BOX, points, 0.0, steps=30)
    return state


def polished(evaluate: EvaluateRows, state: AscentState, rows_per_call: int = 1) -> AscentState:
    *_, state = polish_corners(evaluate, BOX, state, 0.0, rows_per_call=rows_per_call)
    return state


def coupled(size: int, seed: int) -> EvaluateRows:
    """A random quadratic whose maxima lie at corners, since it is convex."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    convex = matrix + matrix.T + 3 * size**0.5 * torch.eye(size)
    return form(convex, torch.randn(size, generator=generator, dtype=torch.float64))


def highest_corner(evaluate: EvaluateRows, size: int) -> float:
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=size)), dtype=torch.float64)
    return float(evaluate(corners)[0].max())


def test_two_flips_leave_a_corner_that_one_flip_does_not() -> None:
    """u1 u2 + (u1 + u2) / 10: the value is 0.8 at (-1, -1), -1 after one flip, and 1.2 after two."""
    evaluate = form(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), torch.tensor([0.1, 0.1]).double())
    before = ended(evaluate, [-1.0, -1.0])
    assert before.values[0] == pytest.approx(0.8)
    after = polished(evaluate, before)
    assert after.values[0] == pytest.approx(1.2)
    assert after.points.tolist() == [[1.0, 1.0]]
    assert before.points.tolist() == [[-1.0, -1.0]]  # which a resumed run polishes again
    assert after.evaluations == before.evaluations + 1 + 3 + 2  # no combination is above the second corner


@pytest.mark.parametrize("seed", range(12))
def test_in_twelve_dimensions_the_highest_corner_of_a_quadratic_is_found(seed: int) -> None:
    """All single flips and the couplings of a quadratic predict all of its corners."""
    evaluate = coupled(12, seed)
    state = polished(evaluate, ended(evaluate, [1.0] * 12, [-1.0] * 12))
    assert state.values.max() == pytest.approx(highest_corner(evaluate, 12))


@pytest.mark.parametrize("seed", range(4))
def test_values_never_fall_and_are_those_of_the_points(seed: int) -> None:
    evaluate = coupled(30, seed)
    before = ended(evaluate, [1.0] * 30, [-1.0] * 30, [1.0, -1.0] * 15)
    after = polished(evaluate, before)
    assert (after.values >= before.values).all()
    assert after.values == pytest.approx(evaluate(after.points)[0])
    assert (after.points.abs() <= 1).all()
    slopes = evaluate(after.points)[1]
    outward = (slopes * after.points).sum(dim=1) / slopes.abs().sum(dim=1)
    assert after.stationarity == pytest.approx((1 - outward).clamp_min(0).numpy())


def test_together_or_one_by_one_is_the_same() -> None:
    evaluate = coupled(20, 5)
    before = ended(evaluate, [1.0] * 20, [-1.0] * 20)
    one, other = (polished(evaluate, before, rows) for rows in (1, 7))
    assert np.array_equal(one.values, other.values)
    assert torch.equal(one.points, other.points)
    assert one.evaluations == other.evaluations


def test_the_second_of_two_ends_may_lead_higher() -> None:
    """Beside u1 u2 + (u1 + u2) / 10, a third coordinate that nothing moves decides which end is the higher one."""

    def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
        pair = rows[:, 0] * rows[:, 1]
        open_valley = rows[:, 2] > 0
        values = torch.where(open_valley, pair + 0.1 * rows[:, :2].sum(dim=1), torch.full_like(pair, 0.9))
        slopes = torch.zeros_like(rows)
        slopes[:, :2] = torch.where(open_valley[:, None], rows[:, :2].flip(1) + 0.1, 0.0)
        return values.numpy(), slopes

    before = ended(evaluate, [-1.0, -1.0, -1.0], [-1.0, -1.0, 1.0])
    assert before.values == pytest.approx([0.9, 0.8])
    assert polished(evaluate, before).values == pytest.approx([0.9, 1.2])


def test_coordinates_that_nothing_moves_are_not_flipped() -> None:
    plain, flipped = coupled(14, 3), []

    def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
        flipped.append(bool((rows[:, :2] < 0).any()))
        still = torch.ones(14, dtype=torch.float64)
        still[:2] = 0
        values, gradients = plain(rows * still)
        return values, gradients * still

    before = ended(evaluate, [1.0] * 14)
    assert polished(evaluate, before).evaluations > before.evaluations + 12
    assert not any(flipped)


def test_ascents_with_the_same_end_are_polished_once() -> None:
    evaluate = form(torch.zeros(3, 3).double(), torch.tensor([1.0, 2.0, 3.0]).double())
    before = ended(evaluate, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert polished(evaluate, before).evaluations == before.evaluations + 1 + 3


def test_ascents_with_the_same_end_leave_it_together() -> None:
    evaluate = form(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), torch.tensor([0.1, 0.1]).double())
    after = polished(evaluate, ended(evaluate, [-1.0, -1.0], [-1.0, -1.0]))
    assert after.values == pytest.approx([1.2, 1.2])
    assert after.points.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_corner_whose_value_is_not_finite_is_not_hidden(value: float) -> None:
    plain = form(torch.zeros(3, 3).double(), torch.tensor([1.0, 2.0, 3.0]).double())

    def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
        values, gradients = plain(rows)
        return np.where((rows[:, 1] < 0).numpy(), value, values), gradients

    after = polished(evaluate, ended(evaluate, [1.0, 1.0, 1.0]))
    assert np.array_equal(after.values, [value], equal_nan=True)
    assert np.isfinite(after.stationarity).all()


def test_where_nothing_can_move_nothing_is_tried() -> None:
    evaluate = form(torch.zeros(3, 3).double(), torch.zeros(3).double())
    before = ended(evaluate, [1.0, 1.0, 1.0])
    after = polished(evaluate, before)
    assert after.values.tolist() == [0.0]
    assert after.evaluations == before.evaluations + 1
