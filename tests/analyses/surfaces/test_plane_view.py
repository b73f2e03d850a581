"""Quantities read off one evaluated plane, against those of a known function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from landscape.analyses.surfaces.grid_phase import Grid
from landscape.analyses.surfaces.plane_view import PlaneView, view_plane


def bowl() -> PlaneView:
    """1 + 2 alpha^2 + 3 beta^2 on a grid of 5 x 9 points; alpha is not centered."""
    alpha, beta = np.linspace(-1, 3, 5), np.linspace(-2, 2, 9)
    values = 1 + 2 * alpha**2 + 3 * beta[:, None] ** 2
    grid = Grid(values[None], np.ones(values.shape, np.int8), None)
    return PlaneView((alpha, beta), grid, np.array([4.0, 6.0]), (1.0, 1.0), 0.0, rounding=1e-9)


def test_lines_and_curvatures_go_through_the_checkpoint() -> None:
    view = bowl()
    assert view.center == (4, 1)
    assert view.line(0).tolist() == [3, 1, 3, 9, 19]
    assert view.line(1).min() == 1
    assert view.curvature(0) == pytest.approx(4)
    assert view.curvature(1) == pytest.approx(6)


def test_a_valley_varies_at_most_twice_its_range() -> None:
    variations = bowl().variations()
    assert variations[0] == pytest.approx((2 + 18) / 18)  # down by 2, and up by 18
    assert variations[1] == pytest.approx(2)
    assert len(bowl().tree().places) == 1


def test_lines_within_rounding_have_no_variation() -> None:
    values = 1 + 1e-9 * np.array([[0.0, 1, 0, 1, 0]])
    grid = Grid(values, np.ones(5, np.int8), None)
    flat = PlaneView((np.linspace(-1, 1, 5),), grid, np.array([0.0]), (1.0,), None, rounding=1e-7)
    assert np.isnan(flat.variations()[0])
    assert len(flat.tree().places) == 1
    rough = replace(flat, rounding=1e-10)
    assert rough.variations()[0] == pytest.approx(4)
    assert len(rough.tree().places) == 3


def test_minima_that_interpolation_may_have_made_do_not_count() -> None:
    values = np.array([[3.0, 1.0, 1.5, 1.2, 3.0]])
    errors = np.array([0.0, 0.0, 0.0, 0.4, 0.0])
    grid = Grid(values, np.ones(5, np.int8), None)
    view = PlaneView((np.linspace(-1, 1, 5),), grid, np.zeros(1), (1.0,), None, rounding=1e-9)
    assert len(view.tree().places) == 2
    assert len(replace(view, grid=replace(grid, errors=errors)).tree().places) == 1


def test_directions_have_norms_and_an_angle_unless_one_is_zero() -> None:
    view = bowl()
    first, second, zero = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0]), torch.zeros(2)

    def seen(*directions: torch.Tensor) -> PlaneView:
        return view_plane(view.coordinates, view.grid, view.hessian, directions, view.rounding)

    assert seen(first, second).norms == (5, 2)
    assert seen(first, second).cosine == pytest.approx(0.8)
    assert seen(first, zero).cosine is None
    assert seen(first).cosine is None
