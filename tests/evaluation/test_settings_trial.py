"""The trial of pass settings: faster settings with the same numbers are kept, others are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.settings_trial import VECTORIZED_POINTS, use_fastest_settings
from landscape.evaluation.sweep import Plane, Sweep

Data = tuple[Tensor, Tensor]


def plane_of(objective: Objective) -> Plane:
    return Plane((torch.ones_like(objective.theta),))


def cost(monkeypatch: pytest.MonkeyPatch, sweep: Sweep, seconds: Callable[[PassSettings], float]) -> None:
    """Lets a pass take as long as its settings say."""
    monkeypatch.setattr(
        "landscape.evaluation.settings_trial.shortest_seconds", lambda run, rounds: seconds(sweep.settings)
    )


def test_the_fastest_settings_are_used_whatever_their_order(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep(Objective(tanh_net(), [classification], "cross_entropy", micro_batch=8))
    cost(monkeypatch, sweep, lambda settings: abs(settings.samples - 16) + 1.0)
    use_fastest_settings(sweep, plane_of(sweep.objective))
    assert sweep.settings.samples == 16


def test_settings_that_are_hardly_faster_are_not_used(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(Objective(tanh_net(), [classification], "cross_entropy", micro_batch=8))
    # 2 % less for larger batches; a vectorized pass over 32 points takes as long as 32 passes
    cost(monkeypatch, sweep, lambda settings: (0.98 if settings.samples else 1.0) * settings.points)
    use_fastest_settings(sweep, plane_of(sweep.objective))
    assert sweep.settings == PassSettings()


def test_points_are_vectorized_where_a_pass_over_them_costs_less_than_each_alone(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep(Objective(tanh_net(), [classification], "cross_entropy"))
    cost(monkeypatch, sweep, lambda settings: 1.0)
    use_fastest_settings(sweep, plane_of(sweep.objective))
    assert sweep.settings.points == VECTORIZED_POINTS


class Gated(nn.Module):
    """Samples do not depend on each other near theta, where the gate is closed, and do away from it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.gate = nn.Linear(5, 3), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out + (self.gate.abs() - 0.01).relu() * out.mean(dim=0)


def test_faster_settings_with_other_numbers_are_not_used(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = classification
    batches = list(zip(x.split(8), y.split(8), strict=True))
    objective = Objective(Gated(), batches, "cross_entropy", micro_batch=8)
    assert objective.batches.whole is not None
    sweep, plane = Sweep(objective), plane_of(objective)
    cost(monkeypatch, sweep, lambda settings: settings.points / (1 + settings.samples))
    use_fastest_settings(sweep, plane)
    assert sweep.settings == PassSettings()
