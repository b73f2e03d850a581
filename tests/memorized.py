"""A small net that was fitted to some samples, with populations: what analyses of memorization are tried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective


def fitted(data: tuple[Tensor, Tensor], **options: Any) -> Objective:
    """A net of 5 -> 6 -> 4 -> 3 fitted to the first 16 of 24 samples, and three populations of them."""
    x, y = data
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(x[:16]), y[:16]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    populations = {"memorized": (x[:6], y[:6]), "clean": (x[6:16], y[6:16]), "held-out": (x[16:], y[16:])}
    return Objective(net, (x[:16], y[:16]), "cross_entropy", populations=populations, **options)
