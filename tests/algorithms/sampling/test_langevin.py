"""Langevin steps on quadratics: variances and the bias of the mean are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.sampling.chains import Evaluation, begin_chains
from landscape.algorithms.sampling.convergence import standard_error
from landscape.algorithms.sampling.langevin import langevin_step, step_bias

GAMMA, SIZE = 2.0, 0.05


@pytest.mark.parametrize("noise", [0.0, 5.0], ids=["exact-gradients", "noisy-gradients"])
def test_variances_and_the_bias_are_those_of_theory(noise: float) -> None:
    curvatures = torch.tensor([[0.0], [10.0], [40.0]], dtype=torch.float64)

    def evaluate(positions: Tensor, step: int) -> Evaluation:
        random = seeds.normal(positions.numel(), positions, 1, step).view_as(positions)
        value = (curvatures * positions**2).sum(dim=0) / 2
        return Evaluation(value.numpy(), curvatures * positions + noise * random)

    chains = begin_chains(evaluate, torch.zeros(3, 40, dtype=torch.float64), GAMMA, math.log(SIZE))
    squares, values, gradients = [], [], []
    for step in range(400):
        chains, _ = langevin_step(evaluate, chains, 0, "test")
        if step >= 60:
            squares.append(chains.positions**2)
            values.append(chains.value)
            gradients.append(chains.squared_gradient)
    factor = (1 + SIZE * noise**2 / 4) / (1 - SIZE * curvatures[:, 0] / 4)
    variance = factor / (curvatures[:, 0] + GAMMA)
    assert torch.stack(squares).mean(dim=(0, 2)).numpy() == pytest.approx(variance.numpy(), rel=0.08)
    exact = float((curvatures[:, 0] / (curvatures[:, 0] + GAMMA)).sum() / 2)
    drawn, bias = np.stack(values, axis=1), step_bias(math.log(SIZE), np.stack(gradients, axis=1))
    rest = drawn.mean() - exact - bias.mean()
    if noise:
        assert rest < 0 < drawn.mean() - exact  # a bound: noise in flat directions counts too
    else:
        assert abs(rest) < 4 * standard_error(drawn - bias)
