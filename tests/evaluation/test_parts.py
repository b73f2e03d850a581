"""Tests of the parts that --by names, against gradients and losses by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from population_objectives import (
    OfDictionary,
    gradients_by_hand,
    pairs,
    population_objective,
    ragged_batches,
    samples_of_class,
)
from torch import nn

from landscape import Objective
from landscape.errors import UsageError
from landscape.evaluation.parts import compare_gradients, parts_by


def two_terms(model: nn.Module, batch: Any) -> dict[str, Any]:
    """Two terms with known gradients."""
    w = model.weight
    return {"up": (2 * w[0, 0] * len(batch), len(batch)), "down": (w * torch.tensor([[-3.0, 4.0]])).sum(1)}


def test_classes_are_parts_whose_weights_are_their_shares() -> None:
    parts = parts_by(population_objective(), "class")
    assert [part.name for part in parts] == ["class-0", "class-1", "class-2"]
    assert [part.weight for part in parts] == pytest.approx([14 / 26, 8 / 26, 4 / 26])
    assert [part.objective.batches.samples for part in parts] == [14, 8, 4]


def test_the_weighted_sum_of_losses_and_gradients_is_that_of_the_whole() -> None:
    objective = population_objective()
    parts = parts_by(objective, "class")
    loss, gradient = objective.value_and_gradient()
    pieces = [part.objective.value_and_gradient() for part in parts]
    weighted = [part.weight * piece for part, (piece, _) in zip(parts, pieces, strict=True)]
    assert float(sum(weighted)) == pytest.approx(float(loss), rel=1e-14)
    total = sum(part.weight * row for part, (_, row) in zip(parts, pieces, strict=True))
    torch.testing.assert_close(total, gradient, rtol=1e-13, atol=1e-15)


def test_gradients_are_compared_as_by_hand() -> None:
    found = compare_gradients(parts_by(population_objective(), "class"))
    rows = gradients_by_hand().numpy()
    norms = np.linalg.norm(rows, axis=1)
    whole = np.array([14, 8, 4]) / 26 @ rows
    np.testing.assert_allclose(found["gradient_norm"], norms, rtol=1e-12)
    np.testing.assert_allclose(found["cosine"], rows @ rows.T / np.outer(norms, norms), rtol=1e-10)
    shares = np.array([14, 8, 4]) / 26 * (rows @ whole) / (whole @ whole)
    np.testing.assert_allclose(found["gradient_share"], shares, rtol=1e-11)
    assert found["gradient_share"].sum() == pytest.approx(1)


def test_the_error_of_a_loss_is_the_standard_error_of_its_samples() -> None:
    found = compare_gradients(parts_by(population_objective(), "class"))
    net = tanh_net().double()
    for label in range(3):
        x, y = samples_of_class(label)
        losses = nn.functional.cross_entropy(net(x.double()), y, reduction="none").detach().numpy()
        assert found["loss"][label] == pytest.approx(losses.mean(), rel=1e-12)
        assert found["loss_se"][label] == pytest.approx(losses.std(ddof=1) / len(losses) ** 0.5, rel=1e-12)


def test_a_column_of_words_names_the_parts() -> None:
    objective = Objective(OfDictionary(), ragged_batches(), "cross_entropy", dtype="float64")
    parts = parts_by(objective, "domain")
    assert [(part.name, part.objective.batches.samples) for part in parts] == [("book", 17), ("web", 9)]
    assert sum(part.weight for part in parts) == pytest.approx(1)


def test_terms_are_parts_of_weight_one_without_weight_decay() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.ones_(net.weight)
    objective = Objective(net, torch.ones(1, 2), objective=two_terms, dtype="float64", weight_decay=0.5)
    parts = parts_by(objective, "term")
    found = compare_gradients(parts)
    assert [(part.name, part.weight) for part in parts] == [("up", 1), ("down", 1)]
    np.testing.assert_allclose(found["cosine"], [[1.0, -0.6], [-0.6, 1.0]])
    np.testing.assert_allclose(found["gradient_share"], np.array([-2.0, 19.0]) / 17)


def test_samples_beside_the_data_have_no_weight() -> None:
    objective = population_objective(populations={"rare": samples_of_class(2)})
    (part,) = parts_by(objective, "population")
    assert part.name == "rare"
    assert np.isnan(part.weight)
    assert np.isnan(compare_gradients((part,))["gradient_share"]).all()


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("population", "the checkpoint names no populations"),
        ("term", "loss cross_entropy has no terms"),
        ("domain", "the data have no column of that name"),
    ],
)
def test_what_the_data_do_not_have_is_said(by: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parts_by(population_objective(), by)


def test_a_single_sample_has_no_error_of_its_loss() -> None:
    x, y = pairs()[0]
    lonely = torch.cat([torch.zeros(10, dtype=torch.long), torch.ones(1, dtype=torch.long)])
    objective = Objective(tanh_net(), [(x, lonely)], "cross_entropy", dtype="float64")
    assert len(y) == len(lonely)
    errors = compare_gradients(parts_by(objective, "class"))["loss_se"]
    assert np.isfinite(errors[0])
    assert np.isnan(errors[1])
