"""A small objective for tests of sessions."""

from __future__ import annotations

import torch
from conftest import tanh_net

from landscape import Objective


def small_objective() -> Objective:
    x, y = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(8, dtype=torch.long)
    return Objective(tanh_net(), [(x, y)], "cross_entropy")
