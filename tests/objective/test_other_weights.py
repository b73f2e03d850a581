"""An objective at other weights is the objective that would be made of them anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.compute.strategy import ProductSettings
from landscape.errors import CheckpointError, NumericalError, TaskError, UsageError
from landscape.objective import ObjectiveSource

Data = tuple[Tensor, Tensor]


def trained(model: nn.Module, data: Data, steps: int = 3) -> nn.Module:
    """A copy of the model after steps of SGD in train mode, running statistics included."""
    other = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(other(data[0]), data[1]).backward()
        optimizer.step()
    return other.eval()


def batch_norm_net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


class TiedNet(nn.Module):
    """Two names of one weight, and a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(torch.tanh(self.first(x))) * self.scale)


class Tempered(nn.Module):
    """Cross-entropy with a temperature of its own that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output * self.log_scale.exp(), target)


def assert_same(one: Objective, other: Objective) -> None:
    assert one.reference == other.reference
    assert one.identity() == other.identity()
    assert torch.equal(one.theta, other.theta)
    first, second = (landscape.run(landscape.Eig(k=2), objective) for objective in (one, other))
    assert first.eigenvalues.tolist() == second.eigenvalues.tolist()


@pytest.mark.parametrize("make", [tanh_net, batch_norm_net, TiedNet])
@pytest.mark.parametrize("as_state_dict", [False, True])
def test_it_is_the_objective_made_anew(make: Any, as_state_dict: bool, classification: Data) -> None:
    model = make()
    other = trained(model, classification)
    objective = Objective(model, classification, "cross_entropy", dtype="float64")
    before = objective.reference
    moved = objective.at(other.state_dict() if as_state_dict else other)
    assert_same(moved, Objective(other, classification, "cross_entropy", dtype="float64"))
    assert moved.reference.loss < before.loss == objective.reference.loss


def test_a_model_that_goes_on_training_moves_neither(classification: Data) -> None:
    model = batch_norm_net()
    objective = Objective(model, classification, "cross_entropy", dtype="float64")
    first = objective.at(model)
    loss = float(first.value())
    with torch.no_grad():
        for tensor in [*model.parameters(), model[1].running_mean]:  # type: ignore[index]
            tensor.add_(1.0)
    assert float(first.value()) == loss
    assert_same(objective.at(model), Objective(model, classification, "cross_entropy", dtype="float64"))


def test_a_wrapped_model_in_train_mode_is_left_as_it_is(classification: Data) -> None:
    model = trained(batch_norm_net(), classification).train()
    objective = Objective(batch_norm_net(), classification, "cross_entropy", dtype="float64")
    moved = objective.at(nn.DataParallel(model))
    assert model.training
    assert_same(moved, Objective(model, classification, "cross_entropy", dtype="float64"))


def test_the_data_are_not_read_again(classification: Data) -> None:
    passes = 0

    class Loader:
        def __iter__(self) -> Any:
            nonlocal passes
            passes += 1
            yield classification

    objective = Objective(tanh_net(), Loader(), "cross_entropy")
    read = passes
    assert objective.at(trained(tanh_net(), classification)).value() > 0
    assert passes == read


def test_a_loss_with_parameters_has_its_present_values(classification: Data) -> None:
    model, loss = tanh_net(), Tempered()
    objective = Objective(model, classification, loss, dtype="float64")
    with torch.no_grad():
        loss.log_scale.fill_(-0.4)
    assert_same(objective.at(model), Objective(model, classification, loss, dtype="float64"))
    kept = objective.at(trained(model, classification).state_dict())
    assert float(kept.space.unflatten(kept.theta)["loss.log_scale"]) == pytest.approx(0.3)


def test_selected_parameters_and_fixed_ones_both_move(classification: Data) -> None:
    model = tanh_net()
    other = trained(model, classification)
    chosen: dict[str, Any] = {"params": ("2.*",), "dtype": "float64"}
    objective = Objective(model, classification, "cross_entropy", **chosen)
    assert_same(objective.at(other), Objective(other, classification, "cross_entropy", **chosen))


def test_weights_in_narrow_dtypes_are_rounded_again(classification: Data) -> None:
    settings = ProductSettings(weights_dtype="bfloat16")
    model = tanh_net()
    other = trained(model, classification)
    objective = Objective(copy.deepcopy(model), classification, "cross_entropy", settings=settings)
    anew = Objective(copy.deepcopy(other), classification, "cross_entropy", settings=settings)
    moved = objective.at(other)
    assert moved.reference == anew.reference
    assert "rounded to bfloat16" in " ".join(moved.notes)
    assert moved.weights_sha256 == anew.weights_sha256


def test_the_optimizer_of_the_first_weights_is_not_that_of_others(classification: Data) -> None:
    model = tanh_net()
    ones = {name: torch.ones_like(tensor) for name, tensor in model.named_parameters()}
    objective = Objective(model, classification, "cross_entropy", preconditioner=ones)
    assert objective.preconditioner.unique().tolist() == [1.0]
    with pytest.raises(UsageError):
        _ = objective.at(model).preconditioner
    twos = {name: 2 * tensor for name, tensor in ones.items()}
    assert objective.at(model, preconditioner=twos).preconditioner.unique().tolist() == [2.0]


def test_it_says_where_it_came_from(classification: Data) -> None:
    source = ObjectiveSource(notes=("from a file",))
    objective = Objective(tanh_net(), classification, limit=10, source=source)
    moved = objective.at(tanh_net(), source=ObjectiveSource(notes=("from another",)))
    assert "from another" in moved.notes
    assert "from a file" not in moved.notes
    assert any("first 10 samples" in note for note in moved.notes)


@pytest.mark.parametrize("hvp", ["linearize", "difference"])
def test_products_are_those_of_the_new_weights(hvp: Any, classification: Data) -> None:
    settings = ProductSettings(hvp=hvp)
    other = trained(tanh_net(), classification)
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64", settings=settings)
    landscape.run(landscape.Eig(k=1), objective)
    moved = landscape.run(landscape.Eig(k=1), objective.at(other))
    anew = Objective(other, classification, "cross_entropy", dtype="float64")
    assert moved.eigenvalues[0] == pytest.approx(landscape.run(landscape.Eig(k=1), anew).eigenvalues[0], rel=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),  # the same tensors, another function
        nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)),
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Linear(3, 3)),
        nn.Linear(5, 3),
    ],
)
def test_another_model_is_refused(other: nn.Module, classification: Data) -> None:
    objective = Objective(tanh_net(), classification)
    with pytest.raises(TaskError, match="not that of the objective"):
        objective.at(other)


def test_parameters_that_became_other_ones_are_refused(classification: Data) -> None:
    model = tanh_net()
    objective = Objective(model, classification)
    model[2].weight = nn.Parameter(torch.zeros(3, 5))
    with pytest.raises(TaskError, match=r"no tensors of these names and shapes: 2\.weight"):
        objective.at(model)


def test_what_is_no_model_and_what_does_not_fit_is_refused(classification: Data) -> None:
    objective = Objective(tanh_net(), classification)
    with pytest.raises(UsageError, match="a model or a state dict, not str"):
        objective.at("ckpt.pt")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError):
        objective.at({"0.weight": torch.zeros(4, 5)})
    broken = tanh_net()
    with torch.no_grad():
        broken[0].bias[1] = torch.nan
    with pytest.raises(NumericalError, match=r"0\.bias \(1 of 4\)"):
        objective.at(broken)


def test_infinity_in_a_frozen_parameter_is_refused_and_in_a_mask_it_is_not(classification: Data) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    model = Masked()
    objective = Objective(model, classification, params=("net.2.*",))
    assert objective.at(Masked()).reference == objective.reference
    with torch.no_grad():
        model.net[0].bias[0] = -torch.inf
    with pytest.raises(NumericalError, match=r"net\.0\.bias"):
        objective.at(model)
