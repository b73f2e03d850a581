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
from landscape.data.survey import Batches
from landscape.errors import OutOfMemory
from landscape.objective.micro_batch import Activations, measure_activations, plan_micro_batch, seconds_per_gradient

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


def planned(size: int, largest: int, parameters: int, *, samples: int = 300_000, whole: bool = True) -> int:
    """The micro-batch of data on the CPU that are given as one batch."""
    batch = Batch(torch.zeros(samples, 1), torch.zeros(samples))
    batches = Batches([batch], sha256="", samples=samples, largest=samples, kept=True, whole=batch if whole else None)
    return plan_micro_batch(batches, Activations(size, largest), torch.zeros(0), parameters)


def test_on_the_cpu_the_largest_tensor_of_a_micro_batch_fits_into_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 1 << 40)
    assert planned(228, 128, 771) == (4 << 20) // 128
    assert planned(228, 128, 771, whole=False) == (4 << 20) // 128
    assert planned(228, 128, 771, samples=10_000) == 10_000
    # adding up gradients of 25 million parameters would cost more
    assert planned(1 << 20, 1 << 18, 25_000_000, samples=5_000) == 32 * 25_000_000 * 4 // (1 << 20)
    assert planned(100 << 20, 8 << 20, 1000, samples=64) == 64  # large images
    assert planned(100 << 10, 1 << 20, 1000, samples=1_000) == 256


def test_the_largest_tensor_that_a_forward_pass_keeps_is_known() -> None:
    net = tanh_net().double()  # 5 -> 4 -> 3: it keeps the inputs, the tanh, and the softmax
    x, y = torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 3
    objective = Objective(net, (x, y), "cross_entropy", dtype="float64")
    batch = next(iter(objective.batches))
    kept = measure_activations(objective.batch_total, objective.theta, batch)
    assert kept.largest == 5 * 8
    assert kept.size == objective.activation_bytes
    assert kept.size >= (5 + 4 + 3) * 8
    assert kept.of_sample(2) == (kept.size // 2, 20)
