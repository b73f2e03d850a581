"""The table of populations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from memorized import fit_net, memorization_of, random_texts
from torch import Tensor, nn

from landscape import Objective

Data = tuple[Tensor, Tensor]


def test_what_is_in_the_factors_data_is_said(classification: Data) -> None:
    found = memorization_of(fit_net(classification))
    assert found.population_in_factors.tolist() == [1, 1, 0]
    assert any("in the factors' own data: 100 % of memorized" in said for said in found.remarks())
    apart = memorization_of(fit_net(classification), factors_on="held-out")
    assert apart.population_in_factors.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("labels", "inside"), [("exact", 1.0), ("gold", 0.0)])
def test_other_labels_make_other_samples_only_where_the_curvature_uses_them(
    labels: Any, inside: float, classification: Data
) -> None:
    x, y = classification
    objective = fit_net(classification)
    objective.populations = {"relabeled": (x[:6], (y[:6] + 1) % 3), "clean": (x[6:16], y[6:16])}
    shares = memorization_of(objective, labels=labels).population_in_factors
    assert shares.tolist() == [inside, 1.0]


def test_counts_losses_and_accuracies_are_those_of_the_samples(classification: Data) -> None:
    x, y = classification
    objective = fit_net(classification, dtype="float64")
    found = memorization_of(objective, scores=False)
    with torch.no_grad():
        output = objective.model.double()(x.double())
    parts = (slice(0, 6), slice(6, 16), slice(16, 24))
    assert found.population.tolist() == ["memorized", "clean", "held-out"]
    assert found.population_samples.tolist() == [6, 10, 8]
    assert found.accuracy == pytest.approx([float((output[p].argmax(1) == y[p]).double().mean()) for p in parts])
    losses = [float(nn.functional.cross_entropy(output[part], y[part])) for part in parts]
    assert found.population_loss == pytest.approx(losses, rel=1e-12)


def test_a_loss_without_classes_has_no_accuracy_and_vectors_no_recitation() -> None:
    x, y = torch.randn(12, 5), torch.randn(12, 3)
    found = memorization_of(Objective(tanh_net(), (x, y), "mse"), scores=False)
    assert found.accuracy is None
    assert found.recitation is None


def test_texts_that_are_no_language_model_s_have_no_recitation() -> None:
    objective = random_texts()
    ids, targets = objective.populations["memorized"]
    objective.populations = {**objective.populations, "other": (ids, targets.flip(0))}
    found = memorization_of(objective, scores=False, per_layer=False)
    assert found.recitation is not None
    assert np.isnan(found.recitation).tolist() == [False, False, True]
