"""An objective whose maxima and means over balls are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective


@pytest.fixture
def quadratic(generator: torch.Generator) -> tuple[Objective, np.ndarray, np.ndarray]:
    """Least squares in 7 weights, away from the minimum: the objective, its gradient and its Hessian."""
    x = torch.randn(40, 7, generator=generator, dtype=torch.float64) * torch.arange(1, 8)
    y = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    torch.manual_seed(3)
    model = nn.Linear(7, 1, bias=False).double()
    objective = Objective(model, [(x, y)], "mse", dtype="float64")
    return objective, objective.gradient().numpy(), (2 * x.T @ x / 40).numpy()
