"""Labels of the Fisher matrix: drawn, given, or in the mean."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from token_models import collected
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import TaskError, UsageError
from landscape.evaluation import fisher_labels

Data = tuple[Tensor, Tensor]


def test_a_loss_that_is_no_likelihood_asks_for_the_data_s_labels(classification: Data) -> None:
    def hinge(output: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(output, target)

    objective = Objective(tanh_net(), classification, hinge)
    with pytest.raises(TaskError, match="--labels gold"):
        fisher_labels.choose_labels(objective, None)
    assert collected(objective, "gold")["0"].g.trace() > 0


def test_a_weighted_loss_has_no_exact_labels(classification: Data) -> None:
    x, y = classification
    labels = functional.one_hot(y, 3).float()
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 5.0, 20.0]))
    objective = Objective(tanh_net(), (x, labels), loss)
    with pytest.raises(TaskError, match="--labels gold"):
        fisher_labels.choose_labels(objective, None)
    with pytest.raises(UsageError, match="exact does not know"):
        collected(objective, "exact")
