"""Losses, counts and right predictions of single samples, against each sample alone."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from token_models import Texts, next_tokens
from torch import Tensor
from torch.nn import functional

from landscape import Objective
from landscape.evaluation.per_sample.outcomes import sample_losses, sample_outcomes

Data = tuple[Tensor, Tensor]


@pytest.fixture
def texts(generator: torch.Generator) -> Data:
    return next_tokens(generator)


def test_outcomes_are_those_of_each_sample_alone(texts: Data, classification: Data) -> None:
    for net, data in ((Texts(), texts), (tanh_net(), classification)):
        objective = Objective(
            net, [tuple(t[:4] for t in data), tuple(t[4:] for t in data)], "cross_entropy", dtype="float64"
        )
        found = sample_outcomes(objective)
        for place in range(len(data[0])):
            one = Objective(net, tuple(t[place, None] for t in data), "cross_entropy", dtype="float64")
            assert float(found.means[place]) == pytest.approx(float(one.value()), rel=1e-12)
            assert int(found.counts[place]) == one.count
        assert found.loss == pytest.approx(float(objective.value()), rel=1e-12)
        output = objective.batch_output(
            objective.theta, next(iter(Objective(net, data, "cross_entropy", dtype="float64").batches))
        )
        right = (output.argmax(-1) == data[1]).double().sum() / (data[1] != -100).sum()
        assert found.accuracy == pytest.approx(float(right), abs=1e-12)


def test_a_user_s_loss_is_taken_sample_by_sample(classification: Data) -> None:
    def hinge(output: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(output, target)

    objective = Objective(tanh_net(), classification, hinge, dtype="float64")
    batch = next(iter(objective.batches))
    found = sample_losses(objective, objective.batch_output(objective.theta, batch), batch)
    output = objective.batch_output(objective.theta, batch)
    assert torch.allclose(found, functional.multi_margin_loss(output, batch.targets, reduction="none"), atol=1e-13)
    assert torch.isnan(torch.tensor(sample_outcomes(objective).accuracy))
