"""Planes on which BatchNorm's statistics are recomputed, if there are any."""

from __future__ import annotations

import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses.surfaces.frame import Frame, with_batch_norm
from landscape.evaluation.sweep import Plane

Data = tuple[Tensor, Tensor]
NO_BATCH_NORM = "there is no BatchNorm with running statistics to recompute"


def frame(objective: Objective, **changes: tuple[float, ...]) -> Frame:
    return Frame(Plane((objective.theta,)), ((-1.0, 1.0),), **changes)  # type: ignore[arg-type]


def test_only_the_mode_recompute_changes_a_frame(classification: Data) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
    objective = Objective(net, [classification], "cross_entropy")
    before = frame(objective)
    assert with_batch_norm(objective, before, "fixed") is before
    assert with_batch_norm(objective, before, "interpolate") is before
    after = with_batch_norm(objective, before, "recompute")
    assert after.plane.statistics == "recompute"
    assert after.notes == ()


def test_recomputing_without_batch_norm_is_noted_only_where_it_was_asked_for(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    asked = with_batch_norm(objective, frame(objective), "recompute")
    assert asked.plane.statistics is None
    assert asked.notes == (NO_BATCH_NORM,)
    by_default = with_batch_norm(objective, frame(objective, explained=(0.8, 0.2)), "recompute")
    assert by_default.notes == ()
