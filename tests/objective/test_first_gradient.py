"""One gradient tells the loss, the micro-batch and the time."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from counted_passes import count_passes
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.errors import OutOfMemory
from landscape.objective import PlannedObjective

Data = tuple[Tensor, Tensor]


@pytest.mark.parametrize("loss", ["cross_entropy", None], ids=["named", "inferred"])
def test_loss_memory_and_micro_batch_are_those_that_a_measurement_finds(loss: str | None, classification: Data) -> None:
    planned = PlannedObjective(tanh_net(), [classification], loss)
    measured = Objective(tanh_net(), [classification], loss)
    assert planned.loss == measured.loss
    assert planned.activation_bytes == pytest.approx(measured.activation_bytes, abs=4)  # one number of a whole batch
    assert planned.micro_batch == measured.micro_batch == 24
    assert planned.count == measured.count == 24


def test_outputs_are_three_float32_numbers_a_sample(classification: Data) -> None:
    cost = PlannedObjective(tanh_net(), [classification], "cross_entropy").sample_cost
    assert cost is not None
    assert cost.output_bytes == 3 * 4
    assert cost.seconds > 0


def test_the_seconds_are_those_of_a_micro_batch_by_sample(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.objective.first_gradient.run_seconds", lambda work: float(len(work())))
    cost = PlannedObjective(tanh_net(), [classification], "cross_entropy", micro_batch=6).sample_cost
    assert cost is not None
    assert cost.seconds == pytest.approx(39 / 6)  # P = 39


def test_a_micro_batch_of_one_sample_takes_the_time_of_the_first_samples(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("landscape.objective.first_gradient.run_seconds", lambda work: calls.append(len(work())) or 2.0)
    cost = PlannedObjective(tanh_net(), [classification], "cross_entropy", micro_batch=1).sample_cost
    assert cost is not None
    assert cost.seconds == pytest.approx(1.5 * 2.0 / 2)  # of two samples, of which the backward pass was timed
    assert calls == [39]


def test_a_micro_batch_that_does_not_fit_is_halved(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, most=6)
    assert PlannedObjective(tanh_net(), [classification], "cross_entropy").micro_batch == 6


def test_one_sample_that_does_not_fit_is_said(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, most=0)
    with pytest.raises(OutOfMemory, match="one sample alone does not fit"):
        PlannedObjective(tanh_net(), [classification], "cross_entropy", micro_batch=2)


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Gradients of more samples than `most` run out of memory."""
    original = PlannedObjective.batch_gradient

    def gradient(self: PlannedObjective, theta: Tensor, batch: object) -> tuple[Tensor, Tensor]:
        if batch.size > most:  # type: ignore[attr-defined]
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return original(self, theta, batch)  # type: ignore[arg-type]

    monkeypatch.setattr("landscape.objective.batch_loss.BatchLoss.batch_gradient", gradient)


def test_the_terms_of_an_objective_are_planned_as_they_are_measured(classification: Data) -> None:
    def losses(model: nn.Module, batch: Data) -> dict[str, Tensor]:
        x, y = batch
        return {"a": nn.functional.cross_entropy(model(x), y, reduction="none"), "b": model(x).square().sum(dim=1)}

    planned, measured = (kind(tanh_net(), [classification], objective=losses) for kind in (PlannedObjective, Objective))
    assert planned.loss == measured.loss
    assert torch.equal(planned.gradient(), measured.gradient())
    one = PlannedObjective(tanh_net(), [classification], objective=losses, term="b")
    assert one.loss_name.endswith("term b")


def test_a_function_that_keeps_less_is_timed_in_no_more_than_two_gradients() -> None:
    """A block that runs again in the backward pass is one more forward pass there."""
    torch.manual_seed(0)
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3)))
    data = torch.randn(24, 6), torch.randint(0, 6, (24,))
    with pytest.MonkeyPatch.context() as patch, count_passes(Counted) as passes:
        patch.setattr("landscape.objective.block_choice.room", lambda use, device: 10)
        planned = PlannedObjective(Counted(blocks), [data], "cross_entropy", micro_batch=8)
    assert planned.function.blocks
    assert passes.forward + 2 * passes.backward <= 2 * 3 * 8
    measured = Objective(Counted(blocks), [data], "cross_entropy", settings=ProductSettings(recompute="on"))
    assert planned.activation_bytes == pytest.approx(measured.activation_bytes, rel=0.2)


class Counted(nn.Module):
    """Blocks, whose passes are counted together."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.blocks(x)
        return result
