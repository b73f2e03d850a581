"""The trouble and the remarks of a sharpness result."""

from __future__ import annotations

from typing import Any

import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


def test_a_loss_that_overflows_within_the_radius_is_inconclusive(classification: Data) -> None:
    def exploding(output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(40 * output.square().sum(dim=1))

    objective = Objective(tanh_net(), [classification], exploding)
    result = measured(objective, adaptive="none", rho=(3.0,), draws=4)
    assert "not finite within rho = 3" in str(result.trouble())
    assert "smaller --rho" in result.trouble().fix
