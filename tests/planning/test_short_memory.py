"""A measurement that has 60 % of the memory that it would take finishes by its own choices, with the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Density, Eig, Objective
from landscape.analyses import Analysis
from landscape.planning.live_bytes import LiveBytes

SHARE = 0.6


@dataclass(frozen=True)
class Run:
    """A result, the most bytes that were alive beyond the model, and the samples that went together."""

    result: object
    peak: int
    micro_batch: int


def measure(analysis: Analysis, limit: int = 0) -> Run:
    """Measures a small net on many samples; with a limit, where so many bytes are free beyond what is alive."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
    data = [(torch.randn(6000, 16), torch.randint(0, 5, (6000,)))]
    with pytest.MonkeyPatch.context() as patch, LiveBytes(lambda tensor: "activations", [*net.parameters()]) as live:
        if limit:
            patch.setattr("landscape.compute.memory.free_bytes", lambda device: max(limit - live.alive, 0))
        objective = Objective(net, data, "cross_entropy")
        result = landscape.run(analysis, objective)
    return Run(result, live.peak, objective.micro_batch)


@pytest.mark.parametrize(
    ("analysis", "numbers"),
    [(Eig(k=2, confirm=0), "eigenvalues"), (Density(probes=2, steps=8), "density")],
    ids=["eig", "density"],
)
def test_sixty_percent_of_the_memory_give_the_same_numbers(analysis: Analysis, numbers: str) -> None:
    whole = measure(analysis)
    short = measure(analysis, limit=int(SHARE * whole.peak))
    assert short.peak < whole.peak
    assert short.micro_batch < whole.micro_batch
    expected, found = (getattr(run.result, numbers) for run in (whole, short))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
