"""Outputs that cannot be taken apart by sample: every analysis that asks for losses of samples does without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from population_objectives import OfDictionary
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Critical, Influence, Llc, Objective, Sensitivity
from landscape.analyses.influence.gradients import losses_and_counts


class Listed(nn.Module):
    """Two boxes of four numbers for each sample, in a list of dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 8)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"boxes": row.view(2, 4)} for row in self.net(x)]


class ReturnsLoss(nn.Module):
    """The mean loss itself, whatever the target."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        loss: Tensor = (self.net(x) - 1).square().mean()
        return loss


class Turned(nn.Module):
    """Scores with samples along the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x).T
        return scores


def of_boxes(output: list[dict[str, Tensor]], target: Tensor) -> Tensor:
    return torch.stack([(one["boxes"] - to).square().mean() for one, to in zip(output, target, strict=True)])


def as_returned(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output


def of_columns(output: Tensor, target: Tensor) -> Tensor:
    return (output.T - target).square().mean(dim=1)


STRANGE = [
    pytest.param(Listed, of_boxes, (2, 4), id="list of dictionaries"),
    pytest.param(ReturnsLoss, as_returned, (1,), id="model that returns its loss"),
    pytest.param(Turned, of_columns, (2,), id="samples along the second axis"),
]


def strange_objective(model: Callable[[], nn.Module], loss: Any, shape: tuple[int, ...]) -> Objective:
    """Batches of 2, 5 and 2 samples: as many as a sample has boxes or scores, and not as many."""
    torch.manual_seed(0)
    x, y = torch.randn(9, 5), torch.randn(9, *shape)
    return Objective(model(), list(zip(x.split((2, 5, 2)), y.split((2, 5, 2)), strict=True)), loss, dtype="float64")


@pytest.mark.parametrize(("model", "loss", "shape"), STRANGE)
def test_losses_of_training_samples_are_those_of_single_passes(model: Any, loss: Any, shape: tuple[int, ...]) -> None:
    objective = strange_objective(model, loss, shape)
    losses, counts = losses_and_counts(objective).T
    single = [float(objective.first(place + 1).value()) * (place + 1) for place in range(9)]
    np.testing.assert_allclose(losses.numpy(), np.diff([0.0, *single]), rtol=1e-9, atol=1e-12)
    assert counts.tolist() == [1.0] * 9


@pytest.mark.parametrize(("model", "loss", "shape"), STRANGE)
@pytest.mark.parametrize(
    "analysis",
    [
        pytest.param(Sensitivity(bits=(4,), sample_groups=3), id="sensitivity"),
        pytest.param(Llc(gamma=100.0, draws=32, rtol=0.5, chains=2), id="llc"),
        pytest.param(Influence(query="samples:0,1", operator="hessian", damping="1"), id="influence"),
        pytest.param(Critical(), id="critical"),
    ],
)
def test_analyses_measure_them(model: Any, loss: Any, shape: tuple[int, ...], analysis: Any) -> None:
    result: Any = landscape.run(analysis, strange_objective(model, loss, shape))
    assert not any("internal error" in note for note in result.notes)
    assert np.isfinite(result.reference_loss())
    if isinstance(analysis, Llc):
        assert result.data_standard_error is None or np.isfinite(result.llc)


def test_populations_of_a_model_that_returns_its_loss_have_no_error_of_their_losses() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 5), torch.arange(8) % 2
    objective = Objective(ReturnsLoss(), (x, y), as_returned, dtype="float64")
    result: Any = landscape.run(landscape.Trace(by="class"), objective)
    assert np.isfinite(result.population_loss).all()
    assert np.isnan(result.population_loss_se).all()


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2])), id="cross-entropy"),
        pytest.param(nn.CrossEntropyLoss(), id="without weights"),
        pytest.param(nn.NLLLoss(weight=torch.tensor([3.0, 0.5, 1.0])), id="negative log-likelihood"),
    ],
)
def test_errors_of_populations_losses_do_not_change_with_the_class_weight(loss: nn.Module) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(30, 5), torch.arange(30) % 3
    net = tanh_net()
    model = nn.Sequential(net, nn.LogSoftmax(1)) if isinstance(loss, nn.NLLLoss) else net
    result: Any = landscape.run(landscape.Trace(by="class"), Objective(model, (x, y), loss))
    each = functional.cross_entropy(net(x), y, reduction="none").detach()
    expected = [float(each[y == label].std() / (y == label).sum().sqrt()) for label in range(3)]
    np.testing.assert_allclose(result.population_loss_se, expected, rtol=1e-4)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0])], ids=["plain", "weights"])
def test_ignored_targets_are_no_class(weight: Tensor | None) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(12, 5), torch.tensor([0, 1, -100] * 4)
    objective = Objective(tanh_net(), (x, y), nn.CrossEntropyLoss(weight=weight), dtype="float64")
    result: Any = landscape.run(landscape.Trace(by="class"), objective)
    assert result.population.tolist() == ["class-0", "class-1"]
    assert result.population_share @ result.population_loss == pytest.approx(result.loss, rel=1e-12)


def test_a_number_that_a_loss_does_not_ignore_is_a_class() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 5), torch.tensor([1, -100] * 3)
    model = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))
    objective = Objective(model, (x, y), lambda output, target: (output - target) ** 2, dtype="float64")
    result: Any = landscape.run(landscape.Trace(by="class"), objective)
    assert result.population.tolist() == ["class--100", "class-1"]


def test_queries_without_a_target_that_counts_are_named() -> None:
    x, y = torch.randn(6, 5), torch.tensor([0, 1, -100] * 2)
    objective = Objective(tanh_net(), (x, y), "cross_entropy", dtype="float64")
    with pytest.raises(landscape.LandscapeError, match="at places 1, 3 have no target"):
        landscape.run(Influence(query="samples:1,2,4,5", damping="1"), objective)


@pytest.mark.parametrize("count", [1, 2], ids=["one sample", "two samples"])
def test_samples_with_nan_in_a_column_are_refused(count: int) -> None:
    column = [float("nan")] * count + [1.0] * (6 - count)
    batch = {"x": torch.randn(6, 5), "labels": torch.arange(6) % 3, "domain": column}
    objective = Objective(OfDictionary(), [batch], "cross_entropy")
    with pytest.raises(landscape.LandscapeError, match="that column is NaN for some samples"):
        landscape.run(landscape.Trace(by="domain"), objective)
