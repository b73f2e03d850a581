"""Births, deaths and sizes of basins of double wells, whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from scipy.integrate import trapezoid
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.barcode import barcode_columns, component_columns
from landscape.analyses.surfaces.grid_phase import Grid
from landscape.analyses.surfaces.plane_view import PlaneView

AXIS = np.linspace(-1, 1, 81)
X, Y = np.meshgrid(AXIS, AXIS)
WELLS = (X**2 - 0.25) ** 2 + Y**2 - 0.01 * X  # minima near -1/2 and 1/2, the right one deeper by .01


def view(losses: np.ndarray, errors: np.ndarray | None = None, rounding: float = 1e-9) -> PlaneView:
    grid = Grid(losses[None], np.ones(losses.shape, np.int8), errors)
    axes = (AXIS,) * losses.ndim
    return PlaneView(axes, grid, np.full(losses.ndim, np.nan), (1.0,) * losses.ndim, 0.0, rounding)


def test_a_plane_with_two_wells_has_two_bars() -> None:
    """Below the pass of 1/16 at 0 the well reaches from 0 to 1 / sqrt 2, and from -1/4 to 1/4 across."""
    wells = view(WELLS)
    columns = barcode_columns(wells, wells.tree())
    assert columns["minimum_death"][1] == pytest.approx(0.0625, abs=1e-4)
    assert np.isnan(columns["minimum_death"][0])
    assert columns["minimum_width_alpha"][1] == pytest.approx(0.5**0.5, abs=0.06)  # tilted by .01
    assert columns["minimum_width_beta"][1] == pytest.approx(0.5, abs=0.06)
    area = trapezoid(2 * np.sqrt(np.clip(0.0625 - (AXIS**2 - 0.25) ** 2, 0, None)), AXIS) / 2
    assert columns["minimum_area"][1] == pytest.approx(area, rel=0.1)


def test_the_deepest_basin_is_measured_where_it_reaches_the_edge() -> None:
    """The lowest loss on the edge is .75^2 - .01, at (1, 0): across, both wells then reach to .75."""
    wells = view(WELLS)
    columns = barcode_columns(wells, wells.tree())
    assert columns["minimum_width_beta"][0] == pytest.approx(1.5, abs=0.03)
    assert columns["minimum_width_alpha"][0] == pytest.approx(2, abs=0.06)


def test_a_line_has_widths_alone() -> None:
    line = view((AXIS**2 - 0.25) ** 2 - 0.01 * AXIS)
    columns = barcode_columns(line, line.tree())
    assert set(columns) == {"minimum_death", "minimum_error", "minimum_width_alpha"}
    assert columns["minimum_death"][1] == pytest.approx(0.0625, abs=1e-4)
    assert columns["minimum_width_alpha"][1] == pytest.approx(0.5**0.5, abs=0.05)


def test_errors_are_those_of_interpolation_and_rounding() -> None:
    errors = np.where(X > 0, 0.0, 1e-3)
    wells = view(WELLS, errors)
    columns = barcode_columns(wells, wells.tree())
    assert columns["minimum_error"][1] == pytest.approx(1e-3, rel=1e-3)
    assert (
        len(barcode_columns(view(WELLS, errors * 0 + 0.1), view(WELLS, errors * 0 + 0.1).tree())["minimum_death"]) == 1
    )


def test_below_a_level_between_minimum_and_pass_there_are_two_basins() -> None:
    columns = component_columns(view(WELLS), (0.04, 0.1))
    assert columns["component_level"].tolist() == [0.04, 0.04, 0.1]
    assert columns["component_loss"] == pytest.approx([-0.005, 0.005, -0.005], abs=2e-4)
    assert columns["component_depth"] == pytest.approx([0.045, 0.035, 0.105], abs=2e-4)
    low, high = 0.25 - 0.2, 0.25 + 0.2  # x^2, where (x^2 - 1/4)^2 = .04
    width = high**0.5 - low**0.5
    assert columns["component_width_alpha"][:2] == pytest.approx([width, width], abs=0.06)
    assert columns["component_width_beta"][:2] == pytest.approx([2 * 0.045**0.5, 2 * 0.035**0.5], abs=0.03)
    assert not columns["component_open"].any()
    assert component_columns(view(WELLS), (5.0,))["component_open"].all()


def test_basins_that_are_shallower_than_their_error_are_no_basins() -> None:
    assert len(component_columns(view(WELLS, np.full(X.shape, 0.04)), (0.04,))["component_level"]) == 1
    assert len(component_columns(view(WELLS), (-1.0,))["component_level"]) == 0


def test_a_basin_beside_nan_is_open() -> None:
    losses = np.where(X < -0.6, np.nan, WELLS)
    columns = component_columns(view(losses), (0.04,))
    assert columns["component_open"].tolist() == [False, True]


def test_a_surface_stores_its_bars(classification: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = landscape.run(Surface(grid="9", range="4"), objective)
    assert len(result.minimum_death) == result.minima == len(result.minimum_area)
    np.testing.assert_allclose(result.minimum_death - result.minimum_loss, result.minimum_persistence)
    assert set(result.component_level) <= set(result.level)
    line = landscape.run(Surface(grid="9", dim=1), objective)
    assert line.minimum_area is line.component_width_beta is None
