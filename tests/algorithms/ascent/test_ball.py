"""Norms, duals and farthest points."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.algorithms.ascent.ball import Ball
from landscape.choices import Norm

vectors = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=3, max_size=3)


@given(vectors, vectors, st.sampled_from(["l2", "linf"]), st.floats(0.1, 10))
def test_no_point_of_the_ball_is_farther_than_the_farthest(
    one: list[float], other: list[float], norm: Norm, rho: float
) -> None:
    ball, slope, point = Ball(norm, rho), torch.tensor(one).double(), torch.tensor(other).double()
    if float(ball.size(point)) > 0:
        point = point * (rho / float(ball.size(point)))
    top = ball.farthest(slope)
    assert float(ball.size(top)) <= rho * (1 + 1e-12)
    assert float(slope @ top) == pytest.approx(rho * float(ball.dual(slope)), abs=1e-9)
    assert float(slope @ point) <= float(slope @ top) + 1e-9


def test_a_zero_slope_leads_to_the_center() -> None:
    for norm in ("l2", "linf"):
        assert not Ball(norm, 2.0).farthest(torch.zeros(2, 4)).any()


def test_only_a_round_ball_has_a_sphere() -> None:
    assert Ball("l2", 5.0).on_sphere(torch.tensor([3.0, 4.0]))
    assert not Ball("l2", 5.0).on_sphere(torch.tensor([3.0, 3.9]))
    assert not Ball("linf", 4.0).on_sphere(torch.tensor([3.0, 4.0]))


def test_a_point_is_projected_onto_the_sphere_along_its_own_direction() -> None:
    u = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert torch.allclose(Ball("l2", 0.5).to_sphere(u), torch.tensor([0.3, 0.4], dtype=torch.float64), rtol=1e-15)
