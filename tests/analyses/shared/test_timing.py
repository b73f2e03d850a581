"""Seconds for a plan."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.analyses.shared.timing import seconds_per_gradient


def test_the_time_of_one_micro_batch_is_extrapolated_to_all_samples(
    classification: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", micro_batch=6)  # 24 samples
    monkeypatch.setattr("landscape.analyses.shared.timing.shortest", lambda work, rounds: 0.5 * bool(len(work())))
    assert seconds_per_gradient(objective) == pytest.approx(0.5 * 24 / 6)


def test_the_measured_time_is_positive(classification: tuple[Tensor, Tensor]) -> None:
    assert seconds_per_gradient(Objective(tanh_net(), [classification], "cross_entropy")) > 0
    assert torch.get_num_threads() == 1  # as set for all tests
