"""The trial of pass settings: faster settings with the same numbers are kept, others are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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


def test_faster_settings_with_other_numbers_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch statistics: the loss depends on which samples stand in a batch together."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 3))
    x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
    objective = Objective(net, list(zip(x.split(8), y.split(8), strict=True)), "cross_entropy")
    sweep, plane = Sweep(objective), plane_of(objective)
    plain = sweep.evaluate(plane, [[0.3]])
    cost(monkeypatch, sweep, lambda settings: 1 / (1 + settings.samples))
    use_fastest_settings(sweep, plane)
    assert np.allclose(sweep.evaluate(plane, [[0.3]]), plain, rtol=1e-5)
