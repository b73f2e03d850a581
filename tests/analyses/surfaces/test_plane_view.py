"""Quantities read off one evaluated plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from landscape.analyses.surfaces.grid_phase import Grid
from landscape.analyses.surfaces.plane_view import PlaneView

Data = tuple[Tensor, Tensor]


def test_lines_within_rounding_have_no_variation(classification: Data) -> None:
    values = 1 + 1e-9 * np.array([[0.0, 1, 0, 1, 0]])
    grid = Grid(values, np.ones(5, np.int8), None)
    flat = PlaneView((np.linspace(-1, 1, 5),), grid, np.array([0.0]), (1.0,), None, rounding=1e-7)
    assert np.isnan(flat.variations()[0])
    assert len(flat.tree().places) == 1
    rough = replace(flat, rounding=1e-10)
    assert rough.variations()[0] == pytest.approx(4)
    assert len(rough.tree().places) == 3
