"""TODO"""

from __future__ import annotations
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any
import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import ROOT, tanh_net
from torch import Tensor, nn
import landscape
from landscape import Objective
from landscape.analyses.llc import history
from landscape.analyses.llc.llc import Llc, LlcResult
from landscape.analyses.llc.posterior import BatchPosterior, LocalPosterior, Temper, default_gamma, find_starts
from landscape.errors import TaskError, UsageError
import llc_cases


def test_batches_have_the_gradient_of_all_data_on_average(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole, temper = objective.space.whole_group(), Temper(10.0, 1.0)
    exact = LocalPosterior(objective, temper, whole, float(objective.value()))
    parts = BatchPosterior(objective, temper, whole, exact.base, samples=8, seed=0)
    moves = 0.1 * torch.ones(whole.size, 1, dtype=torch.float64)
    found = [parts(moves, step) for step in range(3)]  # an epoch
    assert np.mean([one.value[0] for one in found]) == pytest.approx(exact(moves, 0).value[0])
    assert torch.allclose(sum(one.gradient for one in found) / 3, exact(moves, 0).gradient)  # type: ignore[arg-type]


def test_starts_are_the_checkpoint_and_points_of_higher_loss_in_turn() -> None:
    case = llc_cases.powers((2, 2), 1e6, 1.0)
    objective = case.objective
    posterior = LocalPosterior(objective, Temper(1e6, 1.0), objective.space.whole_group(), 0.0)
    starts = find_starts(posterior, 4, 0)
    excess = posterior.excess(starts.positions).numpy()
    assert (excess[::2] == 0).all()
    assert ((excess[1::2] > 0) & (excess[1::2] <= 1)).all()  # half of the dimension
    assert starts.losses > 2


def test_batches_of_data_that_are_not_in_memory_are_refused() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter([(torch.ones(4, 5), torch.zeros(4, dtype=torch.long))] * 2)

    objective = Objective(tanh_net(), Stream(), "cross_entropy")
    parts = replace(objective.batches, whole=None)
    with pytest.raises(TaskError, match="draws samples from data in memory"):
        landscape.run(Llc(batch=2), objective.variant(batches=parts))
