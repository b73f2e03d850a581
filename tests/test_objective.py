"""The loss as a function of one vector, and the promise that the user's model is left alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.compute import budget
from landscape.data.batches import Batch
from landscape.errors import NumericalError, TaskError, UsageError

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


class Everything(nn.Module):
    """BatchNorm, dropout, a frozen layer, an integer buffer and mixed modes: all that could be disturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Linear(4, 3).requires_grad_(False)
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.dropout(self.norm(self.first(x))))


def test_measuring_changes_nothing_in_the_user_s_model(classification: Data) -> None:
    torch.manual_seed(0)
    model = Everything()
    model.norm.eval()  # the rest is in training mode
    model.first.weight.grad = torch.ones_like(model.first.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pointers = {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    generator = torch.get_rng_state()
    objective = Objective(model, [classification], "cross_entropy")
    objective.value(objective.theta * 2)
    objective.gradient()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: tensor.data_ptr() for name, tensor in model.named_parameters()} == pointers
    assert [module.training for module in (model, model.norm, model.dropout)] == [True, False, True]
    assert torch.equal(model.first.weight.grad, torch.ones(4, 5))
    assert not model.frozen.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)


def test_later_training_of_the_model_does_not_move_the_objective(classification: Data) -> None:
    model = tanh_net()
    objective = Objective(model, [classification], "cross_entropy")
    before = float(objective.value())
    with torch.no_grad():
        model[0].weight += 1
    assert float(objective.value()) == before


def test_a_failing_forward_pass_restores_the_mode(classification: Data) -> None:
    model = tanh_net().train()
    with pytest.raises(TaskError, match=r"the model cannot take the data: RuntimeError.*\n.*inputs of \(8, 3\)"):
        Objective(model, [(classification[0][:, :3], classification[1])], "cross_entropy")
    assert model.training


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["data-parallel", "compiled"])
def test_wrappers_are_undone(classification: Data, wrap: Any) -> None:
    objective = Objective(wrap(tanh_net()), [classification], "cross_entropy")
    assert objective.space.names == ("0.weight", "0.bias", "2.weight", "2.bias")


def test_inputs_may_be_tuples_or_dictionaries(classification: Data) -> None:
    class Two(nn.Linear):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(a - b)

    x, y = classification
    torch.manual_seed(0)
    model = Two(5, 3)
    by_order = Objective(model, [((x, x.flip(1)), y)], "cross_entropy")
    by_name = Objective(model, [({"b": x.flip(1), "a": x}, y)], "cross_entropy")
    assert float(by_order.value()) == float(by_name.value())


def test_memory_running_out_halves_the_micro_batch_and_changes_nothing(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    expected = objective.gradient()
    sizes: list[int] = []

    def tight(batch: Batch) -> Tensor:
        sizes.append(batch.size)
        if batch.size > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        theta = objective.theta.detach().requires_grad_()
        return torch.autograd.grad(objective.batch_total(theta, batch), theta)[0]

    assert torch.allclose(objective.accumulate(tight) / objective.count, expected, rtol=1e-12, atol=1e-16)
    assert 3 <= objective.micro_batch <= 5  # 24, 12, 6, 3: halved and not given up
    assert sum(size for size in sizes if size <= 5) == 24


def test_one_sample_that_does_not_fit_is_an_error(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")

    def never(batch: Batch) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(TaskError, match="one sample alone does not fit"):
        objective.accumulate(never)


def test_other_errors_of_the_model_pass_through(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")

    def broken(batch: Batch) -> Tensor:
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        objective.accumulate(broken)


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

        with pytest.raises(TaskError, match="two different outputs for the same input"):
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
    assert objective.notes == ["loss inferred from the shapes: cross_entropy"]


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


def test_the_plan_follows_the_memory_that_is_free(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = Objective(tanh_net(), [classification], "cross_entropy")
    assert roomy.micro_batch == 24
    assert roomy.activation_bytes >= 4 * (5 + 4 + 3)
    three = math.ceil(roomy.activation_bytes * 6 * 3 / budget.SHARES["micro-batch"])
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: three)
    assert Objective(tanh_net(), [classification], "cross_entropy").micro_batch == 3


def test_a_part_has_its_own_reference(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole = objective.reference.loss
    parts = list(objective.parts(10))
    assert [part.count for part in parts] == [10, 10, 4]
    assert [part.batches.samples for part in parts] == [10, 10, 4]
    losses = [part.reference.loss for part in parts]
    assert sum(part.count * loss for part, loss in zip(parts, losses, strict=True)) / 24 == pytest.approx(whole)
    assert len({whole, *losses}) == 4


def test_parts_are_cut_across_batches_and_from_data_that_is_read_again(classification: tuple[Tensor, Tensor]) -> None:
    """A loader that fills one buffer again and again, and is not kept in memory."""
    x, y = classification

    class Loader:
        def __iter__(self) -> Any:
            inputs, targets = torch.empty(8, 5), torch.empty(8, dtype=torch.long)
            for first in (0, 8, 16):
                inputs.copy_(x[first : first + 8])
                targets.copy_(y[first : first + 8])
                yield inputs, targets

    objective = Objective(tanh_net(), Loader(), "cross_entropy", dtype="float64")
    loose = replace(objective.batches, source=Loader(), kept=False)
    vars(objective)["batches"] = loose
    kept = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    for one, other in zip(objective.parts(10), kept.parts(10), strict=True):
        assert float(one.value()) == pytest.approx(float(other.value()), rel=1e-12)
