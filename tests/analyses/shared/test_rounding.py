"""The smallest rise that is clear of rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.analyses.shared.rounding import MIN_EPSILONS, NOISE_MULTIPLE, smallest_clear_rise


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(nn.Linear(200, 1, bias=False), [(torch.randn(4, 200), torch.zeros(4, 1))], "mse")


def test_a_function_without_rounding_has_the_floor_of_its_own_size(objective: Objective) -> None:
    epsilon = torch.finfo(torch.float32).eps
    assert smallest_clear_rise(objective, lambda theta: 5.0, 5.0, 0) == pytest.approx(MIN_EPSILONS * epsilon * 5)


def test_the_rounding_of_a_difference_of_large_numbers_is_measured(objective: Objective) -> None:
    """f = 1e6 (sum(w^2) - its value): last-bit changes of w move each term by 2e6 eps w^2, with random signs."""
    theta = objective.theta.double()
    exact = float((theta**2).sum())
    floor = smallest_clear_rise(objective, lambda changed: 1e6 * (float((changed.double() ** 2).sum()) - exact), 0.0, 0)
    expected = 2e6 * torch.finfo(torch.float32).eps * float((theta**4).sum().sqrt())  # of a sum with random signs
    assert expected / 3 < floor / NOISE_MULTIPLE < 3 * expected  # the root mean square of four draws


def test_the_floor_is_a_function_of_the_seed(objective: Objective) -> None:
    floors = [smallest_clear_rise(objective, lambda theta: 1e8 * float(theta.sum()), 0.0, seed) for seed in (0, 0, 1)]
    assert floors[0] == floors[1] != floors[2]
