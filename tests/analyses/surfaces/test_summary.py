"""Basins, levels and roughness of the evaluated planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult

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
