"""What an objective refuses before it measures, and what it notes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import NumericalError, TaskError, UsageError

Data = tuple[Tensor, Tensor]


class TestWhatIsRefused:
    def test_nan_weights_are_named_and_counted(self, classification: Data) -> None:
        model = tanh_net()
        with torch.no_grad():
            model[2].weight[0, :2] = float("nan")
        with pytest.raises(NumericalError, match=r"NaN or infinity in weights: 2.weight \(2 of 12\)"):
            Objective(model, [classification], "cross_entropy")

    def test_an_infinite_buffer_is_named(self, classification: Data) -> None:
        model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3))
        model[0].running_var[0] = float("inf")
        with pytest.raises(NumericalError, match=r"0.running_var \(1 of 5\)"):
            Objective(model, [classification], "cross_entropy")

    def test_a_loss_that_is_not_finite_is_said(self, classification: Data) -> None:
        x, y = classification
        objective = Objective(tanh_net(), [(x * float("inf"), y)], "cross_entropy")
        with pytest.raises(NumericalError, match="the loss at the checkpoint is nan"):
            _ = objective.reference

    def test_a_model_that_is_random_in_eval_mode(self, classification: Data) -> None:
        class Random(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return functional.dropout(super().forward(x))

        with pytest.raises(TaskError, match="random in eval mode"):
            Objective(Random(5, 3), [classification], "cross_entropy")

    def test_a_model_that_changes_its_inputs(self, classification: Data) -> None:
        class Greedy(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x.mul_(2))

        x, y = classification
        before = x.clone()
        with pytest.raises(TaskError, match="changes its inputs in place"):
            Objective(Greedy(5, 3), [(x, y)], "cross_entropy")
        assert torch.equal(x, before)

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (lambda o, t: o.nothing, r"cannot take the model's output: AttributeError.*\n.*output of \(8, 3\)"),
            (lambda o, t: (o.argmax(1) == t).float().mean(), "has no gradient"),
            (lambda: 0, "cannot take the model's output: TypeError"),
            ("mse", "needs equal shapes"),
        ],
        ids=["broken", "accuracy", "signature", "shapes"],
    )
    def test_a_loss_that_cannot_be_used(self, classification: Data, loss: Any, message: str) -> None:
        with pytest.raises(TaskError, match=message):
            Objective(tanh_net(), [classification], loss)

    def test_a_class_out_of_range_in_a_later_batch(self, classification: Data) -> None:
        x, y = classification
        y[-1] = 7
        objective = Objective(tanh_net(), [(x[:12], y[:12]), (x[12:], y[12:])], "cross_entropy")
        with pytest.raises(TaskError, match=r"fails on a batch: IndexError.*\n.*\n.*targets' range"):
            objective.value()

    def test_a_model_that_forgets_its_graph(self, classification: Data) -> None:
        class Detached(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x).detach()

        with pytest.raises(TaskError, match="does not depend on the parameters"):
            Objective(Detached(5, 3), [classification], "cross_entropy")

    def test_parameters_that_no_vector_can_hold(self, classification: Data) -> None:
        with pytest.raises(TaskError, match="no shape yet: weight, bias"):
            Objective(nn.LazyLinear(3), [classification], "cross_entropy")
        with pytest.raises(TaskError, match=r"not real numbers: weight \(torch.complex64\)"):
            Objective(nn.Linear(5, 3, dtype=torch.complex64), [classification], "cross_entropy")

    def test_a_model_without_trainable_parameters(self, classification: Data) -> None:
        with pytest.raises(TaskError, match="no trainable parameter"):
            Objective(tanh_net().requires_grad_(False), [classification], "cross_entropy")

    def test_targets_that_are_all_ignored(self, classification: Data) -> None:
        x, y = classification
        with pytest.raises(TaskError, match="the loss counts nothing"):
            Objective(tanh_net(), [(x, torch.full_like(y, -100))], "cross_entropy")

    @pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
    def test_a_device_that_is_not_there(self, classification: Data, device: str) -> None:
        with pytest.raises(UsageError, match=f"--device {device} is not available"):
            Objective(tanh_net(), [classification], "cross_entropy", device=device)


def test_an_attention_mask_of_minus_infinity_is_no_damage(classification: Data) -> None:
    model = tanh_net()
    model.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(4))
    assert Objective(model, [classification], "cross_entropy").reference.loss > 0


def test_half_precision_weights_are_upcast_and_that_is_said(classification: Data) -> None:
    objective = Objective(tanh_net().bfloat16(), [classification], "cross_entropy")
    assert objective.theta.dtype == torch.float32
    assert "bfloat16 weights are computed in float32" in objective.notes


def test_an_inferred_loss_is_said(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification])
    assert objective.notes == ("loss inferred from the shapes: cross_entropy",)
