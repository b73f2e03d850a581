"""The gradient is the model's own: parts that run again in the backward pass are followed, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Checkpointed, Net, Reversible, X, Y
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape.errors import TaskError


@pytest.mark.parametrize("model", [Checkpointed, Reversible])
def test_a_model_that_runs_parts_of_itself_again_has_the_gradient_of_the_plain_one(model: type[Net]) -> None:
    objective = landscape.Objective(model(), BATCHES, "cross_entropy", dtype="float64")
    plain = landscape.Objective(Net(), BATCHES, "cross_entropy", dtype="float64")
    for theta in (plain.theta, plain.theta * 1.3 + 0.1):
        assert torch.allclose(objective.gradient(theta), plain.gradient(theta), rtol=1e-10, atol=1e-12)
    assert any("runs parts of itself again" in note for note in objective.notes)
    one, other = (landscape.run(landscape.Sharpness(rho=(0.1,), draws=4), o) for o in (objective, plain))
    assert one.s_max == pytest.approx(other.s_max, rel=1e-6)


def test_own_checkpointing_that_can_be_differentiated_twice_is_right() -> None:
    one, other = (
        landscape.run(landscape.Eig(k=2), landscape.Objective(m, BATCHES, "cross_entropy", dtype="float64"))
        for m in (Checkpointed(), Net())
    )
    assert one.eigenvalues == pytest.approx(other.eigenvalues, rel=1e-8)
    assert one.trouble() is None


def test_a_backward_pass_that_cannot_be_differentiated_is_inconclusive() -> None:
    objective = landscape.Objective(Reversible(), BATCHES, "cross_entropy", dtype="float64")
    trouble = landscape.run(landscape.Eig(k=1), objective).trouble()
    assert trouble is not None
    assert trouble.kind == "contract"
    assert "second derivative" in trouble.why


class Twin(nn.Module):
    """A net whose second layer computes with a copy of its weight, made when the net was built."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)
        self.flat = [self.b.weight.data]  # shares the memory of the weight, which training moves

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = functional.linear(torch.tanh(self.a(x)), self.flat[0] + 0 * self.b.weight, self.b.bias)
        return out


def test_a_weight_that_does_not_follow_theta_is_found_where_its_gradient_counts() -> None:
    """Both gradients lack the weight's: its derivative is 0 in the user's own training too, which is no fault."""
    objective = landscape.Objective(Twin(), BATCHES, "cross_entropy")
    assert float(objective.space.unflatten(objective.gradient())["b.weight"].abs().max()) == 0


def test_state_that_changes_the_gradient_is_told_apart_from_parameters() -> None:
    def counts(net: Any, z: Tensor) -> Tensor:
        return z * (1 + 2e-5 * net.calls)

    with pytest.raises(TaskError, match=r"another one every time\n.*keeps state.*calls|depends on what"):
        landscape.Objective(Net(counts), BATCHES, "cross_entropy", dtype="float64")


def test_a_gradient_that_is_missing_is_refused_with_the_names_of_the_parameters() -> None:
    """A penalty in the backward pass that uses a module behind the model's back."""
    model = Net()
    hidden = [model.b]

    class Behind(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, output: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(weight)
            return output.view_as(output)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            original = hidden[0].weight if hidden[0].weight.is_leaf and hidden[0].weight.grad_fn is None else None
            (weight,) = ctx.saved_tensors
            return gradients[0], torch.ones_like(weight) * (original is not None and original is stored)

    stored = model.b.weight

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = Behind.apply(self.net(x), self.net.b.weight)  # type: ignore[no-untyped-call]
            return out

    with pytest.raises(TaskError, match=r"loss in net.b.weight is not the model's own.*\n.*\n.*--params"):
        landscape.Objective(Odd(), BATCHES, "cross_entropy")


def test_ordinary_nets_agree_to_rounding() -> None:
    for dtype in ("float32", "float64"):
        objective = landscape.Objective(Net(), (X, Y), "cross_entropy", dtype=dtype)
        finding = next(one for one in objective.checks if one.check == "gradient")
        assert finding.verdict == "holds"
        assert finding.error is not None
        assert finding.error < 1e-5
