"""The summed losses of samples against those of single samples, for every kind of loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.per_sample.loss_sums import has_sample_losses, sample_loss_sums

Data = tuple[Tensor, Tensor]


def alone(objective: Objective) -> list[list[float]]:
    """The sum and the count of each sample by itself."""
    pieces = [piece for batch in objective.batches for piece in batch.split(1)]
    return [[float(objective.batch_total(objective.theta, one)), objective.batch_count(one)] for one in pieces]


@pytest.mark.parametrize(
    "loss",
    ["cross_entropy", nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))],
    ids=["plain", "weighted-classes"],
)
def test_sums_and_counts_are_those_of_single_samples(classification: Data, split: Splitter, loss: Any) -> None:
    objective = Objective(tanh_net(), split(*classification), loss, dtype="float64")
    assert has_sample_losses(objective)
    sums = sample_loss_sums(objective, objective.theta)
    assert torch.allclose(sums, torch.tensor(alone(objective), dtype=torch.float64), rtol=1e-12)
    assert float(sums[:, 0].sum() / sums[:, 1].sum()) == pytest.approx(float(objective.value()), rel=1e-12)


def test_weight_decay_is_part_of_every_term(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", weight_decay=0.3)
    sums = sample_loss_sums(objective, objective.theta)
    assert float(sums[:, 0].sum() / sums[:, 1].sum()) == pytest.approx(float(objective.value()), rel=1e-12)


def squares(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """Two terms with a loss for each sample."""
    x, _ = batch
    output = model(x)
    return {"first": output[:, 0] ** 2, "second": output[:, 1].abs()}


def test_the_terms_of_an_objective_are_added_for_each_sample(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), objective=squares, dtype="float64")
    sums = sample_loss_sums(objective, objective.theta)
    output = objective.function.output(objective.theta, next(iter(objective.batches)))
    first = output["first"] + output["second"]
    assert torch.allclose(sums[: len(first), 0], first, rtol=1e-12)
    assert float(sums[:, 0].sum() / sums[:, 1].sum()) == pytest.approx(float(objective.value()), rel=1e-12)


def test_one_term_alone_has_losses_of_samples(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], objective=squares, dtype="float64").with_term("second")
    sums = sample_loss_sums(objective, objective.theta)
    assert float(sums[:, 0].mean()) == pytest.approx(float(objective.value()), rel=1e-12)


def pairs(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
    """The sum over pairs of consecutive samples, and their number."""
    output = model(batch[0])
    return (output[1:] - output[:-1]).square().sum(), len(output) - 1


def test_a_sum_over_pairs_has_no_losses_of_samples(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], objective=pairs, dtype="float64")
    assert not has_sample_losses(objective)
    with pytest.raises(TaskError, match="no loss for each sample"):
        sample_loss_sums(objective, objective.theta)
