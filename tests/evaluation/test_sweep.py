"""Many points in passes without a graph: the same numbers as the objective's, and nothing of the user's touched."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Splitter, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.compute import memory
from landscape.errors import OutOfMemory, UsageError
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Plane, Sweep
from landscape.losses import as_loss
from landscape.zoo import digits, resnet

Data = tuple[Tensor, Tensor]
POINTS = [(0.0, 0.0), (0.3, -0.2), (-1.0, 0.5)]


def plane_of(objective: Objective, seed: int = 0) -> Plane:
    generator = torch.Generator().manual_seed(seed)
    return Plane(tuple(0.1 * torch.randn(objective.space.size, generator=generator).to(objective.theta) for _ in "ab"))


def expected(objective: Objective, plane: Plane, points: list[tuple[float, float]]) -> list[float]:
    first, second = plane.directions
    return [float(objective.value(objective.theta + a * first + b * second)) for a, b in points]


@pytest.fixture
def images() -> Objective:
    torch.manual_seed(0)
    net = resnet(1, 4)
    with torch.no_grad():
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand_like(buffer)
    batches = [(x[:40], y[:40]) for x, y in digits(images=True)[:2]] + [
        (x[:7], y[:7]) for x, y in digits(images=True)[2:3]
    ]
    return Objective(net, batches, "cross_entropy")


class TestValues:
    def test_they_are_the_objective_s_bit_for_bit_at_the_center(self, classification: Data, split: Splitter) -> None:
        objective = Objective(tanh_net(), split(*classification), "cross_entropy")
        plane = plane_of(objective)
        found = Sweep(objective).evaluate(plane, POINTS)
        assert found[0, 0] == float(objective.value())
        assert np.allclose(found[:, 0], expected(objective, plane, POINTS), rtol=1e-6)
        output = tanh_net()(classification[0])
        assert found[0, 1] == pytest.approx(float((output.argmax(1) == classification[1]).double().mean()))

    @pytest.mark.parametrize(
        "settings",
        [
            PassSettings(16),
            PassSettings(87),
            PassSettings(channels_last=True),
            PassSettings(64, channels_last=True),
            PassSettings(points=2),
        ],
        ids=str,
    )
    def test_all_settings_give_the_same_but_for_rounding(self, images: Objective, settings: PassSettings) -> None:
        sweep, plane = Sweep(images), plane_of(images)
        plain = sweep.evaluate(plane, POINTS)
        sweep.use_settings(settings)
        again = sweep.evaluate(plane, POINTS)
        assert sweep.settings == settings
        assert np.allclose(plain[:, 0], again[:, 0], rtol=1e-5)
        assert np.array_equal(plain[:, 1], again[:, 1])
        sweep.use_settings(PassSettings())
        assert np.array_equal(sweep.evaluate(plane, POINTS), plain)

    def test_a_trial_chooses_settings_and_numbers_stay(self, images: Objective) -> None:
        sweep, plane = Sweep(images), plane_of(images)
        plain = sweep.evaluate(plane, POINTS)
        sweep.choose_settings(plane)
        assert np.allclose(plain, sweep.evaluate(plane, POINTS), rtol=1e-5)
        assert PassSettings.from_array(sweep.settings.to_array()) == sweep.settings

    def test_a_loader_is_read_anew_for_each_point(self, classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
        x, y = classification
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=10)
        objective = Objective(tanh_net(), loader, "cross_entropy", micro_batch=4)
        assert not objective.batches.kept
        monkeypatch.undo()
        plane = plane_of(objective)
        sweep = Sweep(objective)
        sweep.choose_settings(plane)
        assert sweep.settings.samples == 0
        assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-6)

    def test_a_transformer_and_a_loss_without_classes(self) -> None:
        objective = landscape.load(SAMPLES / "charlm.pt", limit=8)
        plane = plane_of(objective)
        found = Sweep(objective).evaluate(plane, POINTS[:2])
        assert np.allclose(found[:, 0], expected(objective, plane, POINTS[:2]), rtol=1e-5)
        x = torch.randn(9, 5)
        regression = Objective(nn.Linear(5, 1), [(x, x[:, :1])], "mse")
        sweep = Sweep(regression)
        assert sweep.columns == ("loss",)
        assert sweep.evaluate(plane_of(regression), POINTS).shape == (3, 1)

    def test_a_metric_of_the_user_s_is_a_mean_over_samples(self, classification: Data, split: Splitter) -> None:
        def confidence(output: Tensor, target: Tensor) -> Tensor:
            return output.softmax(1).amax(1)

        objective = Objective(tanh_net(), split(*classification), "cross_entropy")
        sweep = Sweep(objective, as_loss(confidence))
        found = sweep.evaluate(plane_of(objective), POINTS[:1])
        assert sweep.columns == ("loss", "accuracy", "metric")
        assert found[0, 2] == pytest.approx(
            float(tanh_net()(classification[0]).softmax(1).amax(1).mean().detach()), rel=1e-6
        )

    def test_nan_and_infinity_stay_what_they_are(self, classification: Data) -> None:
        objective = Objective(tanh_net(), [classification], "cross_entropy")
        huge = Plane((torch.full_like(objective.theta, 1e38), torch.zeros_like(objective.theta)))
        found = Sweep(objective).evaluate(huge, [(1e5, 0.0), (0.0, 0.0)])
        assert not np.isfinite(found[0, 0])
        assert np.isnan(found[0, 1]) == np.isnan(found[0, 0])
        assert np.isfinite(found[1, 0])


class TestTheUsersModel:
    def test_nothing_in_it_changes(self, images: Objective) -> None:
        model = images.model
        model.train()
        before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
        random = torch.get_rng_state()
        sweep = Sweep(images)
        sweep.use_settings(PassSettings(20, channels_last=True))
        sweep.evaluate(plane_of(images), POINTS)
        sweep.use_settings(PassSettings())
        sweep.evaluate(Plane(plane_of(images).directions, "recompute"), POINTS)
        after = model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert [module.training for module in model.modules()] == modes
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        assert torch.equal(torch.get_rng_state(), random)
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_a_model_that_cannot_be_copied_is_evaluated_in_place_of_its_copy(self, classification: Data) -> None:
        class Stubborn(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = tanh_net()
                self.norm = nn.BatchNorm1d(3)

            def __deepcopy__(self, memo: object) -> Stubborn:
                raise RuntimeError("no copies")

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.norm(self.inner(x))
                return out

        objective = Objective(Stubborn(), [classification], "cross_entropy")
        plane = plane_of(objective)
        sweep = Sweep(objective)
        assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-6)
        with pytest.raises(UsageError, match="cannot be copied"):
            sweep.evaluate(Plane(plane.directions, "recompute"), POINTS)

    @pytest.mark.parametrize("kind", ["closure", "itself", "part", "dropout"])
    def test_a_copy_that_is_none_is_not_used(self, classification: Data, kind: str) -> None:
        """Losses come from the weights that were asked for, and the user's model stays as it was."""

        class Odd(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = Same() if kind == "part" else tanh_net()
                self.call = (lambda x: self.inner(x)) if kind == "closure" else None
                self.norm = nn.BatchNorm1d(3)
                self.dropout = Kept() if kind == "dropout" else nn.Identity()

            def __deepcopy__(self, memo: dict[int, object]) -> nn.Module:
                if kind == "itself":
                    return self
                new = Odd.__new__(Odd)
                nn.Module.__init__(new)
                for name, value in self.__dict__.items():
                    new.__dict__[name] = copy.deepcopy(value, memo)
                return new

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.norm(self.dropout((self.call or self.inner)(x)))
                return out

        class Kept(nn.Dropout):
            def __deepcopy__(self, memo: dict[int, object]) -> Kept:
                return self

        class Same(nn.Sequential):
            def __init__(self) -> None:
                super().__init__(*tanh_net())
                for parameter in self.parameters():
                    parameter.requires_grad_(False)

            def __deepcopy__(self, memo: dict[int, object]) -> Same:
                return self

        model = Odd().train()
        objective = Objective(model, [classification], "cross_entropy")
        plane = plane_of(objective)
        found = Sweep(objective).evaluate(plane, POINTS)
        assert np.allclose(found[:, 0], expected(objective, plane, POINTS), rtol=1e-6)
        assert all(module.training for module in model.modules())

    @pytest.mark.parametrize("kind", ["zero-weights", "masked", "table", "rare"])
    def test_a_copy_that_stays_behind_is_seen(self, classification: Data, kind: str) -> None:
        """Zero weights behind a closure, huge masked logits, a failing copy, a part that few samples use."""

        class Patched(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.base, self.low, self.high = tanh_net(), nn.Linear(5, 2), nn.Linear(2, 3, bias=False)
                if kind == "zero-weights":
                    nn.init.zeros_(self.high.weight)
                self.call = lambda x: self.high(self.low(x))
                self.table = {id(self.low): self.low}

            def forward(self, x: Tensor) -> Tensor:
                if kind == "table":
                    return self.high(self.table[id(self.low)](x)) + self.base(x)
                out: Tensor = self.call(x)
                if kind == "masked":
                    out = out.masked_fill(torch.tensor([False, False, True]), -1e9)
                if kind == "rare":
                    out = torch.where((torch.arange(len(x)) == len(x) - 1)[:, None], out, self.base(x))
                return out

        x, y = classification
        y = y % 2
        objective = Objective(Patched(), [(x, y)], "cross_entropy")
        plane = plane_of(objective)
        found = Sweep(objective).evaluate(plane, POINTS)
        assert np.allclose(found[:, 0], expected(objective, plane, POINTS), rtol=1e-5)

    def test_outputs_of_any_kind_are_compared(self, classification: Data) -> None:
        @dataclass
        class Output:
            logits: Tensor
            sure: Tensor

        class Several(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = tanh_net()

            def forward(self, x: Tensor) -> Output:
                out = self.inner(x)
                return Output(out, out > 0)

        def loss(output: Output, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(output.logits, target, reduction="none")

        objective = Objective(Several(), [classification], loss)
        plane, sweep = plane_of(objective), Sweep(objective)
        assert sweep.copy.replica is not None
        assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-6)

    def test_where_samples_depend_on_each_other_the_data_s_own_batches_stay(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(5, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU(), nn.Linear(16, 3)
        )
        x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
        objective = Objective(net, list(zip(x.split(8), y.split(8), strict=True)), "cross_entropy")
        sweep = Sweep(objective)
        sweep.choose_settings(plane_of(objective))
        assert sweep.settings.samples in (0, 8)

    def test_too_many_points_at_once_are_taken_one_by_one(
        self, images: Objective, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep, plane = Sweep(images), plane_of(images)
        plain = sweep.evaluate(plane, POINTS)

        def full(*arguments: object) -> None:
            raise torch.OutOfMemoryError("full")

        monkeypatch.setattr("landscape.evaluation.sweep.try_vmap", full)
        sweep.use_settings(PassSettings(points=3))
        assert np.array_equal(sweep.evaluate(plane, POINTS), plain)
        assert sweep.settings.points == 1

    def test_a_model_that_takes_one_layout_only_keeps_it(self) -> None:
        class Viewing(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.conv, self.more, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 10)
                self.places = nn.Parameter(torch.randn(1, 4, 4, 4))

            def forward(self, x: Tensor) -> Tensor:
                x = self.more(torch.relu(self.conv(x)))
                out: Tensor = self.head(x.view(len(x), -1) + self.places.view(1, -1))
                return out

        objective = Objective(Viewing(), digits("test", images=True), "cross_entropy")
        sweep, plane = Sweep(objective), plane_of(objective)
        sweep.choose_settings(plane)
        assert not sweep.settings.channels_last
        assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-5)

    def test_what_is_no_tensor_belongs_to_its_batch(self) -> None:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = tanh_net()

            def forward(self, x: Tensor, n: int) -> Tensor:
                out: Tensor = self.inner(x) * n
                return out

        x, y = torch.randn(25, 5), torch.randint(0, 3, (25,))
        batches = [({"x": part, "n": len(part)}, label) for part, label in zip(x.split(10), y.split(10), strict=True)]
        objective = Objective(Scaled(), batches, "cross_entropy")
        sweep, plane = Sweep(objective), plane_of(objective)
        sweep.use_settings(PassSettings(25))
        assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-6)

    def test_tied_and_recurrent_parameters_move(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.table = nn.Embedding(6, 4)
                self.lstm = nn.LSTM(4, 4, batch_first=True)
                self.head = nn.Linear(4, 6, bias=False)
                self.head.weight = self.table.weight

            def forward(self, ids: Tensor) -> Tensor:
                out: Tensor = self.head(self.lstm(self.table(ids))[0])
                return out

        ids = torch.randint(0, 6, (5, 7), generator=torch.Generator().manual_seed(0))
        objective = Objective(Tied(), [(ids, ids)], "cross_entropy")
        plane = plane_of(objective)
        found = Sweep(objective).evaluate(plane, POINTS)
        assert np.allclose(found[:, 0], expected(objective, plane, POINTS), rtol=1e-6)
        assert found[0, 0] != found[1, 0]


class Forces(nn.Module):
    """The negative gradient of an energy in the inputs, as in molecular dynamics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.energy = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return -gradient


@pytest.mark.parametrize("points", [1, 3], ids=["one-by-one", "vectorized"])
def test_a_model_that_differentiates_in_its_inputs_is_swept(points: int, generator: torch.Generator) -> None:
    x, y = torch.randn(2, 10, 3, generator=generator)
    objective = Objective(Forces(), [(x, y)], "mse")
    sweep, plane = Sweep(objective), plane_of(objective)
    sweep.use_settings(PassSettings(points=points))
    assert np.allclose(sweep.evaluate(plane, POINTS)[:, 0], expected(objective, plane, POINTS), rtol=1e-5)


class TestMemory:
    def test_running_out_takes_fewer_samples_and_goes_on(self, images: Objective) -> None:
        sweep, plane = Sweep(images), plane_of(images)
        plain = sweep.evaluate(plane, POINTS)
        tight = Tight(sweep, 30)
        sweep.use_settings(PassSettings(87))
        assert np.allclose(sweep.evaluate(plane, POINTS), plain, rtol=1e-5)
        assert sweep.settings.samples == 21
        tight.limit = 0
        with pytest.raises(OutOfMemory, match="one sample alone does not fit"):
            sweep.evaluate(plane, POINTS)


class Tight:
    """A model that runs out of memory beyond so many samples."""

    def __init__(self, sweep: Sweep, limit: int) -> None:
        self.limit = limit
        assert sweep.copy.replica is not None
        sweep.copy.replica.model.register_forward_pre_hook(self.check)

    def check(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > self.limit:
            raise torch.OutOfMemoryError("full")


class TestBatchNorm:
    def test_recomputed_with_one_batch_it_is_the_loss_of_training_mode(self, images: Objective) -> None:
        x = torch.cat([batch.inputs for batch in images.batches]).double()
        y = torch.cat([batch.targets for batch in images.batches])
        model = copy.deepcopy(images.model).double()
        objective = Objective(model, [(x, y)], "cross_entropy", dtype="float64")
        plane = Plane(plane_of(objective).directions, "recompute")
        found = Sweep(objective).evaluate(plane, POINTS)[:, 0]
        for (a, b), value in zip(POINTS, found, strict=True):
            theta = objective.theta + a * plane.directions[0] + b * plane.directions[1]
            moved = copy.deepcopy(model).train()
            moved.load_state_dict(objective.space.unflatten(theta), strict=False)
            assert value == pytest.approx(float(nn.functional.cross_entropy(moved(x), y).detach()), rel=1e-9)
