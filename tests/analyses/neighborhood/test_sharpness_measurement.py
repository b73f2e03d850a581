"""Sharpness: small radii, rounding, published definitions, missing second derivatives, resuming, trained nets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained, same
from conftest import SAMPLES, OnceNet, Splitter, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.sharpness_measurement import batch_notes
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.zoo import digits, mlp

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


def test_small_radii_follow_their_laws(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    gradient, scale = objective.gradient().numpy(), objective.theta.abs().numpy()
    box = measured(objective, norm="linf", rho=(1e-4,), draws=400)
    assert box.s_max is not None
    assert box.s_max[0] / (1e-4 * np.abs(scale * gradient).sum()) == pytest.approx(1, abs=1e-3)
    assert box.s_max_law is not None
    assert box.s_max_law[0] == pytest.approx(1e-4 * np.abs(scale * gradient).sum(), rel=1e-12)
    diagonal = dense_hessian(tanh_net(), [classification]).diagonal().numpy()
    law = 1e-8 / 2 * (scale**2 * diagonal).sum()
    assert box.s_avg is not None
    assert box.s_avg_se is not None
    assert abs(box.s_avg[0] - law) < 4 * box.s_avg_se[0]
    round_ball = measured(objective, rho=(1e-4,), draws=0)
    assert round_ball.s_max is not None
    assert round_ball.s_max_law is not None
    assert round_ball.s_max[0] == pytest.approx(1e-4 * float(np.linalg.norm(scale * gradient)), rel=1e-3)
    assert round_ball.s_max[0] == pytest.approx(round_ball.s_max_law[0], rel=1e-3)


def test_a_radius_below_what_float32_can_tell_is_said() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    result = measured(objective, rho=(1e-6, 0.1), draws=8, starts=3)
    assert result.resolved.tolist() == [False, True]
    assert "smallest rho to trust is about" in result.remarks()[0]
    assert result.smallest_rho is not None
    assert result.smallest_average_rho is not None
    again = measured(objective, rho=(3 * result.smallest_rho,), average_rho=(3 * result.smallest_average_rho,), draws=8)
    exact = measured(
        landscape.load(SAMPLES / "digits-mlp.pt", dtype="float64"),
        rho=again.rho, average_rho=(3 * result.smallest_average_rho,), draws=8,
    )  # fmt: skip
    assert again.resolved.all()
    for name in ("s_max", "s_avg"):
        assert getattr(again, name)[0] == pytest.approx(getattr(exact, name)[0], rel=0.1)
    assert exact.rounding < 1e-6 * again.rounding


def test_the_rounding_of_large_logits_is_measured(classification: Data) -> None:
    """Logits near 10,000 are rounded to 0.001, whatever the loss: 100 machine epsilons of it would be 0.00001."""
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.bias += 1e4
    result = measured(Objective(model, [classification], "cross_entropy"), draws=2, starts=1)
    assert 1e-4 < result.rounding < 1e-1
    assert 100 * torch.finfo(torch.float32).eps * result.loss < 1e-4


def test_how_the_data_are_batched_changes_nothing(classification: Data, split: Splitter) -> None:
    whole = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    cut = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64", micro_batch=5)
    for options in ({}, {"m": 7}):
        one, other = measured(whole, draws=5, **options), measured(cut, draws=5, **options)
        assert np.allclose(one.s_max, other.s_max, rtol=1e-10)
        assert np.allclose(one.s_avg, other.s_avg, rtol=1e-10)


def test_a_model_without_second_derivatives_is_measured_all_the_same(classification: Data) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            context.save_for_backward(x)
            return x.sin()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context: Any, grad: Tensor) -> Tensor:
            (x,) = context.saved_tensors
            return grad * x.cos()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = Once.apply(self.layer(x))  # type: ignore[no-untyped-call]
            return out

    torch.manual_seed(0)
    objective = Objective(Net(), [classification], "cross_entropy")
    result = measured(objective, draws=4)
    assert result.s_max is not None
    assert result.s_max[0] > 0
    assert result.s_avg_law is None
    assert any("random starts take the place" in note for note in result.notes)


def stepped(model: nn.Module, data: Data, step: Callable[[str, Tensor, Tensor], Tensor]) -> float:
    """How far the loss rises when every parameter moves by step(name, weight, gradient)."""
    model = model.double()
    x, y = data[0].double(), data[1]
    named = dict(model.named_parameters())
    before = functional.cross_entropy(model(x), y)
    slopes = dict(zip(named, torch.autograd.grad(before, list(named.values())), strict=True))
    with torch.no_grad():
        for name, parameter in named.items():
            parameter += step(name, parameter, slopes[name])
        return float(functional.cross_entropy(model(x), y) - before)


def test_sam_and_both_conventions_of_asam(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    gradients = objective.space.unflatten(objective.gradient())
    weights = objective.space.unflatten(objective.theta)
    samsung = {n: (w.abs() + 0.01 if "weight" in n else torch.ones_like(w)) for n, w in weights.items()}
    plain = {n: w.abs() for n, w in weights.items()}

    def one_step(scales: dict[str, Tensor], rho: float) -> float:
        norm = torch.stack([(scales[n] * g).square().sum() for n, g in gradients.items()]).sum().sqrt()
        return stepped(tanh_net(), classification, lambda n, w, g: rho * scales[n] ** 2 * g / norm)

    ones = {n: torch.ones_like(w) for n, w in weights.items()}
    for preset, scales, rho in (("sam", ones, 0.05), ("asam", samsung, 0.5), ("asam-davda54", plain, 2.0)):
        result = measured(objective, preset=preset)
        assert result.s_max is not None
        assert result.s_max[0] == pytest.approx(one_step(scales, rho), rel=1e-12), preset
        assert result.mode is not None
        assert result.mode[0] == "one start"
        assert result.s_avg is None


def test_keskar_and_low_pass_filters(quadratic: tuple[Objective, np.ndarray, np.ndarray]) -> None:
    objective, gradient, hessian = quadratic
    box = 1e-3 * (objective.theta.abs().numpy() + 1)
    corners = box * np.array(list(product((-1, 1), repeat=7)))
    rise = (corners @ gradient + np.einsum("ci,ij,cj->c", corners, hessian, corners) / 2).max()
    keskar = measured(objective, preset="keskar")
    assert keskar.keskar is not None
    assert keskar.keskar[0] == pytest.approx(100 * rise / (1 + keskar.loss), rel=1e-9)
    low_pass = measured(objective, preset="low-pass")
    assert low_pass.low_pass is not None
    assert low_pass.s_avg is not None
    assert low_pass.s_max is None
    assert low_pass.low_pass[0] == low_pass.loss + low_pass.s_avg[0]
    assert low_pass.s_avg[0] == pytest.approx(1e-4 / 2 * np.trace(hessian), rel=0.3)


@pytest.mark.parametrize(
    ("options", "samples", "notes"),
    [
        ({"preset": "andriushchenko"}, 1024, ()),
        ({"preset": "andriushchenko"}, 1300, ("that protocol takes 1,024 samples, not 1,300: --limit 1024", "20")),
        ({"preset": "andriushchenko", "m": 100}, 1000, ("that protocol takes 1,024 samples, not 1,000",)),
        ({"m": 10}, 24, ("batches of 10 samples: the last batch has 4",)),
        ({"m": 30}, 24, ("batches of 30 samples: there are 24",)),
        ({}, 24, ()),
    ],
    ids=["protocol", "more-samples", "fewer-samples", "ragged", "too-few", "all-at-once"],
)
def test_batches_and_samples_that_are_not_those_of_the_protocol_are_noted(
    options: dict[str, Any], samples: int, notes: tuple[str, ...]
) -> None:
    found = batch_notes(Sharpness(**options), samples)
    assert len(found) == len(notes)
    assert all(expected in note for expected, note in zip(notes, found, strict=True))


def test_a_run_that_is_interrupted_twice_does_nothing_twice(classification: Data) -> None:
    """The second snapshot still holds the phase that ended before the first one."""
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    analysis = Sharpness(rho=0.3, starts=3, steps=3, draws=12)
    steps, whole = drained(analysis.measure(objective))
    first = analysis.measure(objective)
    for _ in range(len(steps) - 2):
        progress = next(first)
    second = analysis.measure(objective, resume=dict(progress.state()))
    again = dict(next(second).state())
    rest, resumed = drained(analysis.measure(objective, resume=again))
    assert len(rest) == 1
    assert same(resumed, whole)


def test_a_run_that_is_interrupted_at_any_step_in_a_box_ends_with_the_same_bits(classification: Data) -> None:
    """Also while signs are flipped."""
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    analysis = Sharpness(norm="linf", rho=(0.1, 0.3), starts=3, steps=8, draws=0)
    steps, whole = drained(analysis.measure(objective))
    for stop in range(len(steps)):
        running = analysis.measure(objective)
        for _ in range(stop + 1):
            progress = next(running)
        state = {name: array.copy() for name, array in progress.state().items()}
        assert same(drained(analysis.measure(objective, resume=state))[1], whole), stop


def test_wrong_second_derivatives_leave_random_starts_and_plain_draws(classification: Data) -> None:
    net = OnceNet()
    objective = Objective(net, [classification], "cross_entropy", dtype="float64")
    result = measured(objective, rho=0.5, draws=20)
    twin = nn.Sequential(net.a, nn.Tanh(), net.b)
    exact = measured(Objective(twin, [classification], "cross_entropy", dtype="float64"), rho=0.5, draws=20)
    assert result.s_max == pytest.approx(exact.s_max, rel=1e-3)
    assert result.s_avg == pytest.approx(exact.s_avg, rel=0.3)
    assert result.scaled_curvature is None or result.s_avg_law is None
    assert result.notes


def test_the_plan_counts_gradients_and_losses(classification: Data) -> None:
    plan = Sharpness(rho=(0.1, 0.2), m=10).plan(Objective(tanh_net(), [classification], "cross_entropy"))
    assert plan.facts["gradients"].startswith("at most 360")
    assert plan.facts["losses"] == "200"
    assert plan.facts["batches"] == "3 of 10 samples"
    assert plan.seconds > 0


def trained(seed: int, rho: float) -> Objective:
    """An MLP on digits under squared error, by SGD with momentum, or by SAM with that radius (30 epochs)."""
    torch.manual_seed(seed)
    model = mlp([64, 32, 10], "relu")
    parameters = list(model.parameters())
    x, labels = (torch.cat(parts) for parts in zip(*digits(), strict=True))
    y = functional.one_hot(labels, 10).float()
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(30):
        for chosen in torch.randperm(len(x), generator=generator).split(64):
            slopes = torch.autograd.grad(functional.mse_loss(model(x[chosen]), y[chosen]), parameters)
            length = torch.stack([slope.norm() for slope in slopes]).norm()
            moves = [rho * slope / length for slope in slopes]
            for parameter, move in zip(parameters, moves, strict=True):
                parameter.data += move
            optimizer.zero_grad()
            functional.mse_loss(model(x[chosen]), y[chosen]).backward()
            for parameter, move in zip(parameters, moves, strict=True):
                parameter.data -= move
            optimizer.step()
    return Objective(model, [(x, y)], "mse")


@pytest.mark.slow
def test_sam_is_flatter_than_sgd_in_every_seed() -> None:
    for seed in range(5):
        plain, sam = trained(seed, 0.0), trained(seed, 0.1)
        assert sam.reference.loss == pytest.approx(plain.reference.loss, rel=0.15)
        options = {"adaptive": "none", "rho": 0.1, "starts": 3, "draws": 20, "average_rho": 0.02}
        one, other = measured(plain, **options), measured(sam, **options)
        assert other.s_max < 0.75 * one.s_max  # type: ignore[operator]
        assert other.s_avg < 0.8 * one.s_avg  # type: ignore[operator]
        sharp, flat = (landscape.run(landscape.Eig(k=1, confirm=0), o).eigenvalues[0] for o in (plain, sam))
        assert flat < 0.65 * sharp


@pytest.mark.slow
def test_a_net_trained_with_sam_is_flatter_than_its_twin() -> None:
    options = {
        "rho": (0.05,),
        "adaptive": "none",
        "norm": "l2",
        "starts": 3,
        "steps": 8,
        "draws": 10,
        "average_rho": (0.01,),
    }
    plain, sam = (
        measured(landscape.load(SAMPLES / f"{name}.pt", limit=300), **options)
        for name in ("digits-resnet", "digits-resnet-sam")
    )
    assert sam.s_max < plain.s_max  # type: ignore[operator]
    assert sam.s_avg < plain.s_avg  # type: ignore[operator]
