"""Remarks on a surface."""

from __future__ import annotations

from typing import Any

from conftest import SAMPLES, tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


def test_a_coarse_grid_and_a_lower_point_are_said(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    coarse = measured(landscape.load(SAMPLES / "digits-mlp.pt", limit=100), grid="3")
    assert "the grid is too coarse" in " ".join(coarse.remarks())
    assert "not the lowest point: " in " ".join(measured(objective, axes="gradient", grid="3").remarks())
    assert "basin leaves the grid" in " ".join(measured(objective, grid="3", range="0.01").remarks())
