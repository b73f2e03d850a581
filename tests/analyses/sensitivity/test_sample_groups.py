"""Groups of samples, and the losses of samples or of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses.sensitivity.sample_groups import sample_groups, unit_losses

Data = tuple[Tensor, Tensor]


def test_each_sample_is_a_unit_and_groups_add_them(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    groups = sample_groups(objective, 5)
    x, y = classification
    expected = functional.cross_entropy(tanh_net().double()(x.double()), y, reduction="none").detach().numpy()
    losses = unit_losses(objective, objective.theta, groups)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    ends = [24 * part // 5 for part in range(1, 5)]
    np.testing.assert_allclose(groups.by_group(losses), [part.sum() for part in np.split(expected, ends)])
    assert groups.group_counts.tolist() == [len(part) for part in np.split(expected, ends)]


def test_there_are_no_more_groups_than_samples(classification: Data) -> None:
    groups = sample_groups(Objective(tanh_net(), [classification], "cross_entropy"), 100)
    assert len(groups.group_counts) == 24


def test_tokens_that_do_not_count_are_not_counted() -> None:
    torch.manual_seed(0)
    net = nn.Embedding(5, 5)
    ids, targets = torch.randint(0, 5, (6, 4)), torch.randint(0, 5, (6, 4))
    targets[0, 1:] = -100
    targets[3] = -100
    objective = Objective(net, [(ids, targets)], "cross_entropy", dtype="float64")
    groups = sample_groups(objective, 3)
    assert groups.counts.tolist() == [1, 4, 4, 0, 4, 4]
    losses = unit_losses(objective, objective.theta, groups)
    assert losses.sum() / groups.counts.sum() == pytest.approx(float(objective.value()), rel=1e-12)


def test_terms_of_an_objective_are_summed_by_group(classification: Data, split: Splitter) -> None:
    def own(model: nn.Module, batch: Data) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    objective = Objective(tanh_net(), split(*classification), objective=own, dtype="float64")
    groups = sample_groups(objective, 4)
    assert not groups.by_sample
    assert groups.counts.tolist() == [6, 6, 6, 6]
    losses = unit_losses(objective, objective.theta, groups)
    assert losses.sum() / 24 == pytest.approx(float(objective.value()), rel=1e-12)
