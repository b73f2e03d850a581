"""The counted time of a gradient: closed forms, and what it must not depend on."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from counted_passes import count_passes
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.operation_count import OperationCount
from landscape.objective.counted_time import (
    ACCELERATOR_RATE,
    NUMBERS_PER_SECOND,
    OPERATIONS_PER_SECOND,
    SECONDS_PER_CALL,
    GradientCount,
    count_gradient,
    seconds_of_numbers_by_count,
    seconds_per_gradient_by_count,
)

Data = tuple[Tensor, Tensor]


def test_a_linear_layer_takes_a_product_forward_and_one_for_its_weights(classification: Data) -> None:
    count = count_gradient(Objective(nn.Linear(5, 3), [classification], "cross_entropy"))
    assert count.operations == 2 * (2 * 5 * 3)
    assert count.fixed_numbers >= 5 * 3 + 3  # the gradient, however many samples
    assert 0 < count.numbers < 100  # log-softmax of three numbers and its derivative


def test_hidden_layers_also_take_a_product_for_their_inputs(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    count = count_gradient(Objective(net, [classification], "cross_entropy"))
    assert count.operations == 2 * (2 * 5 * 6) + 3 * (2 * 6 * 3)


def test_batches_micro_batches_clocks_and_memory_do_not_change_it(
    classification: Data, split: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seconds_per_gradient_by_count(Objective(tanh_net(), [classification], "cross_entropy"))
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", micro_batch=5)
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("a clock is read"))
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: pytest.fail("memory is asked for"))
    assert seconds_per_gradient_by_count(objective) == expected


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 7])
def test_memory_for_few_samples_gives_the_same_count(micro_batch: int, classification: Data) -> None:
    whole = Objective(tanh_net(), [classification], "cross_entropy")
    few = Objective(tanh_net(), [classification], "cross_entropy", micro_batch=micro_batch)
    with count_passes(nn.Sequential) as passes:
        assert count_gradient(few) == count_gradient(whole)
    assert passes.forward < 2 * 12


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples_are_counted(samples: int) -> None:
    data = torch.zeros(samples, 5), torch.zeros(samples, dtype=torch.long)
    assert count_gradient(Objective(nn.Linear(5, 3), [data], "cross_entropy")).operations == 60


def test_counting_changes_nothing_of_the_model(classification: Data) -> None:
    model = tanh_net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_gradient(Objective(model, [classification], "cross_entropy"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_seconds_are_the_sum_of_work_by_its_rates() -> None:
    count = GradientCount(operations=1e6, numbers=1e4, fixed_numbers=1e5, calls=100)
    work = 1e9 / OPERATIONS_PER_SECOND + (1e7 + 1e5) / NUMBERS_PER_SECOND
    assert count.seconds(1000) == pytest.approx(work + 100 * SECONDS_PER_CALL)
    assert count.seconds(1000, rate=50) == pytest.approx(work / 50 + 100 * SECONDS_PER_CALL)


def test_float64_takes_twice_as_long_and_an_accelerator_a_part(classification: Data) -> None:
    single, double = (Objective(tanh_net(), [classification], "cross_entropy", dtype=d) for d in ("float32", "float64"))
    assert seconds_of_numbers_by_count(single, NUMBERS_PER_SECOND) == 1
    assert seconds_of_numbers_by_count(double, NUMBERS_PER_SECOND) == 2
    single.device = torch.device("meta")
    assert seconds_of_numbers_by_count(single, NUMBERS_PER_SECOND) == 1 / ACCELERATOR_RATE


def test_a_gradient_is_counted_once_and_anew_for_other_data(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with count_passes(nn.Sequential) as passes:
        assert count_gradient(objective) is count_gradient(objective)
    assert passes.backward == 12
    twice = classification[0].repeat(1, 2)[:, :5], classification[1]
    assert count_gradient(objective.with_data([twice])) is not count_gradient(objective)
    assert count_gradient(objective.with_data([twice])) == count_gradient(objective)


def test_the_count_of_few_samples_tells_that_of_all(classification: Data) -> None:
    """24 samples, where 8 and 4 are counted: numbers of samples and of parameters are told apart."""
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    few, whole = count_gradient(objective), OperationCount()
    (batch,) = objective.batches
    with whole:
        objective.batch_gradient(objective.theta, batch)
    assert few.operations * 24 == whole.operations
    assert few.numbers * 24 + few.fixed_numbers == pytest.approx(whole.numbers)
    assert few.calls == whole.calls
