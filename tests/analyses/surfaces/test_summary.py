"""Basins, levels and roughness of the evaluated planes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.grid_phase import Grid
from landscape.analyses.surfaces.plane_view import PlaneView
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.surfaces.summary import basin_columns, curvature_columns, grid_columns, roughness_columns

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


def test_a_flat_line_is_flat_and_not_rough(classification: Data) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x @ (self.w * 1e-12)
            return out

    for options in ({}, {"adaptive": True}):
        result = measured(Objective(Constant(), [classification], "cross_entropy"), grid="15", **options)
        assert result.minima == 1
        assert result.smad == 0
        assert np.isnan(result.variation)
        assert result.roughness_index is None
        assert any("may be rounding" in remark for remark in result.remarks())


def test_levels_where_the_loss_is_not_positive(classification: Data) -> None:
    def negative(output: Tensor, target: Tensor) -> Tensor:
        return output.square().sum(1) - 5

    result = measured(Objective(tanh_net(), [classification], negative), grid="11", range="2")
    assert result.centre_loss < 0
    assert (result.level > result.centre_loss).all()
    assert (result.basin_width_alpha > 0).all()


def test_basins_of_several_planes_have_a_mean_and_a_spread(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    ones = [measured(objective, grid="15", range="6", seed=0, level=1.4) for _ in range(1)]
    several = measured(objective, grid="15", range="6", seeds=3, level=1.4)
    assert ones[0].basin_width_alpha_sd is None
    assert several.basin_width_alpha_sd is not None
    assert several.basin_area_sd is not None
    assert several.basin_width_alpha[0] != ones[0].basin_width_alpha[0]
    assert several.hessian_alpha_se is not None
    assert several.basin_coarse.shape == (1,)
    tiny = measured(objective, grid="3", range="50", level=float(objective.value()) * 1.01)
    assert any("narrower than 3 steps" in remark for remark in tiny.remarks())


def view(values: np.ndarray, errors: np.ndarray | None = None, **changes: Any) -> PlaneView:
    """A plane of 5 x 5 points from -2 to 2 along both axes."""
    axis = np.linspace(-2, 2, 5)
    grid = Grid(values[None], np.ones(values.shape, np.int8), errors)
    return replace(PlaneView((axis, axis), grid, np.array([4.0, 6.0]), (1.0, 2.0), 0.0, rounding=1e-9), **changes)


def bowl(height: float = 1.0) -> np.ndarray:
    """height + 2 alpha^2 + 3 beta^2."""
    axis = np.linspace(-2, 2, 5)
    return np.asarray(height + 2 * axis**2 + 3 * axis[:, None] ** 2)


def test_columns_of_several_planes_have_a_leading_dimension() -> None:
    one, two = view(bowl()), view(bowl(2.0))
    single = grid_columns([one], ["loss"])
    assert single["loss"].shape == single["status"].shape == (5, 5)
    assert "error" not in single
    both = grid_columns([one, two], ["loss"])
    assert both["loss"].shape == both["status"].shape == (2, 5, 5)
    assert both["alpha"].tolist() == [-2, -1, 0, 1, 2]


def test_the_largest_error_is_relative_to_the_range_of_its_own_plane() -> None:
    errors = np.zeros((5, 5))
    errors[0, 0] = 2.0
    columns = grid_columns([view(bowl(), errors)], ["loss"])
    assert columns["largest_error"] == pytest.approx(2 / 20)  # the bowl rises by 8 + 12
    assert grid_columns([view(np.ones((5, 5)), errors)], ["loss"])["largest_error"] == 0  # no range


def test_curvatures_are_means_with_standard_errors() -> None:
    twice = view(1 + 2 * (bowl() - 1), hessian=np.array([8.0, np.nan]))
    single, both = curvature_columns([view(bowl())]), curvature_columns([view(bowl()), twice])
    assert (single["curvature_alpha"], single["curvature_beta"]) == pytest.approx((4, 6))
    assert "curvature_alpha_se" not in single
    assert both["curvatures_alpha"].tolist() == pytest.approx([4, 8])
    assert both["curvature_alpha"] == pytest.approx(6)
    assert both["curvature_alpha_se"] == pytest.approx(np.std([4, 8], ddof=1) / 2**0.5)
    assert both["hessian_alpha"] == pytest.approx(6)
    assert "hessian_beta" not in both  # unknown on one plane
    assert (both["norm_alpha"], both["norm_beta"]) == (1, 2)


def test_a_basin_is_as_wide_as_the_function_says_or_open() -> None:
    columns = basin_columns([view(bowl())], [3.0, 100.0])
    assert columns["level"].tolist() == [3, 100]
    assert columns["basin_width_alpha"][0] == pytest.approx(2)  # 1 + 2 alpha^2 = 3 at alpha = -1 and 1
    assert columns["basin_width_beta"][0] == pytest.approx(2 * 2 / 3)  # a straight line from 1 to 4 between points
    assert columns["basin_open"].tolist() == [False, True]
    assert columns["basin_coarse"].tolist() == [True, False]


def test_default_levels_are_multiples_of_a_positive_loss_and_parts_of_the_rise_above_another() -> None:
    assert basin_columns([view(bowl())], [])["level"].tolist() == [2, 10]
    assert basin_columns([view(bowl(-1.0))], [])["level"].tolist() == pytest.approx([1, 9])  # 10 and 50 % of 20


def test_minima_have_their_depth_and_place() -> None:
    values = np.full((5, 5), 4.0)
    values[2, 2], values[2, 4], values[2, 3] = 1.0, 2.0, 3.0
    columns = roughness_columns([view(values)])
    assert columns["minima"] == 2
    assert columns["minimum_loss"].tolist() == [1, 2]
    assert columns["minimum_persistence"][1] == 1  # the pass between them lies at 3
    assert (columns["minimum_alpha"][1], columns["minimum_beta"][1]) == (2, 0)
    assert columns["lines"] == 2


def test_a_minimum_at_the_border_of_the_grid_is_said_to_be_there(classification: Data) -> None:
    """The loss may fall further beyond it: it need be no minimum."""
    line = measured(Objective(tanh_net(), [classification], "cross_entropy"), dim=1, grid="9")
    two = {"minima": 2, "minimum_loss": np.array([0.1, 0.2]), "minimum_persistence": np.array([np.nan, 0.1])}
    places = {"inside": line.alpha[3], "border": line.alpha.min()}
    for name, place in places.items():
        found = replace(
            line,
            minimum_alpha=np.array([0.0, place]),
            minimum_error=np.array([0.0, 1e-3]),
            **two,  # type: ignore[arg-type]
        )
        (said,) = [remark for remark in found.remarks() if remark.startswith("2 minima")]
        assert ("at the border of the grid" in said) == (name == "border")
