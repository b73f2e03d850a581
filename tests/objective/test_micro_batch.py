"""How many samples go through the model at once, and what happens where memory runs out."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.compute import budget
from landscape.data.batches import Batch
from landscape.errors import OutOfMemory
from landscape.objective.micro_batch import seconds_per_gradient

Data = tuple[Tensor, Tensor]


def test_memory_running_out_halves_the_micro_batch_and_changes_nothing(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    expected = objective.gradient()
    sizes: list[int] = []

    def tight(batch: Batch) -> Tensor:
        sizes.append(batch.size)
        if batch.size > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        theta = objective.theta.detach().requires_grad_()
        return torch.autograd.grad(objective.batch_total(theta, batch), theta)[0]

    assert torch.allclose(objective.accumulate(tight) / objective.count, expected, rtol=1e-12, atol=1e-16)
    assert 3 <= objective.micro_batch <= 5  # 24, 12, 6, 3: halved and not given up
    assert sum(size for size in sizes if size <= 5) == 24


def test_one_sample_that_does_not_fit_is_an_error(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")

    def never(batch: Batch) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(OutOfMemory, match="one sample alone does not fit"):
        objective.accumulate(never)


def test_the_plan_follows_the_memory_that_is_free(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = Objective(tanh_net(), [classification], "cross_entropy")
    assert roomy.micro_batch == 24
    assert roomy.activation_bytes >= 4 * (5 + 4 + 3)
    three = math.ceil(roomy.activation_bytes * 6 * 3 / budget.SHARES["micro-batch"])
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: three)
    assert Objective(tanh_net(), [classification], "cross_entropy").micro_batch == 3


def test_the_seconds_of_one_micro_batch_are_extrapolated_to_all_samples(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", micro_batch=6)  # 24 samples
    monkeypatch.setattr("landscape.compute.timing.shortest_seconds", lambda work, rounds: 0.5 * (len(work()) == 39))
    assert seconds_per_gradient(objective) == pytest.approx(0.5 * 24 / 6)
