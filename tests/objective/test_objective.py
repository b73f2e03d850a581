"""The loss as a function of one vector, and the promise that the user's model is left alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective

Data = tuple[Tensor, Tensor]


def test_value_and_gradient_are_torch_s(classification: Data, split: Splitter) -> None:
    x, y = classification
    model = tanh_net().double()
    objective = Objective(model, split(x, y), "cross_entropy", dtype="float64")
    loss = functional.cross_entropy(model(x.double()), y)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
    assert float(objective.value()) == pytest.approx(float(loss.detach()), rel=1e-14)
    assert torch.allclose(objective.gradient(), gradient, rtol=1e-12, atol=1e-16)
    assert objective.reference.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-12)


def test_the_value_at_another_point_is_the_loss_of_another_model(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    moved = tanh_net().double()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 0.1
    expected = functional.cross_entropy(moved(classification[0].double()), classification[1]).detach()
    assert float(objective.value(objective.theta + 0.1)) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["data-parallel", "compiled"])
def test_wrappers_are_undone(classification: Data, wrap: Any) -> None:
    objective = Objective(wrap(tanh_net()), [classification], "cross_entropy")
    assert objective.space.names == ("0.weight", "0.bias", "2.weight", "2.bias")


class TestIdentity:
    def test_it_says_in_which_mode_and_knows_names(self, classification: Data) -> None:
        identity = self.objective(classification).identity()
        assert identity["mode"] == "eval"

        class Swapped(nn.Module):
            def __init__(self, first: str, second: str) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.one = nn.Linear(5, 3)
                for name, scale in ((first, 1.0), (second, 2.0)):
                    self.register_buffer(name, torch.tensor(scale))

            def forward(self, x: Tensor) -> Tensor:
                return self.one(x)

        pair = [Objective(Swapped(*names), [classification], "cross_entropy") for names in (("a", "b"), ("b", "c"))]
        assert pair[0].weights_sha256 != pair[1].weights_sha256

    def objective(self, data: Data, **changes: Any) -> Objective:
        return Objective(tanh_net(), [data], "cross_entropy", **changes)

    def test_it_ignores_how_the_work_is_cut(self, classification: Data, split: Splitter) -> None:
        other = Objective(tanh_net(), split(*classification), "cross_entropy", micro_batch=2)
        assert other.identity() == self.objective(classification).identity()

    def test_it_knows_everything_that_changes_the_numbers(self, classification: Data) -> None:
        x, y = classification
        base = self.objective(classification).identity()
        moved = tanh_net()
        with torch.no_grad():
            moved[0].bias[0] += 1e-6
        others = {
            "weights": Objective(moved, [classification], "cross_entropy"),
            "data": self.objective((x, y.roll(1))),
            "loss": Objective(tanh_net(), [classification], nn.CrossEntropyLoss()),
            "dtype": self.objective(classification, dtype="float64"),
            "parameters": self.objective(classification, params=("0.*",)),
        }
        for part, other in others.items():
            changed = {key for key, value in other.identity().items() if value != base[key]}
            assert part in changed
            assert changed <= {part, "weights"}  # another precision has other bytes
