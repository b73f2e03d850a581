"""Sharpness against closed forms, a trust-region solver, and the symmetries of networks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained, same
from conftest import SAMPLES, OnceNet, Splitter, tanh_net
from oracles.dense import dense_hessian
from oracles.trust_region import largest
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Sharpness, seeds
from landscape.analyses.neighborhood.sharpness_measurement import batch_notes
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.zoo import digits, mlp

Data = tuple[Tensor, Tensor]


class TestSharpness(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(rho=(0.1, 0.3), m=10, starts=5, steps=4, draws=6, per_layer=True)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestSharpnessOfNormalisedLogits(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(norm="linf", logit_norm="l2", starts=3, steps=3, draws=12, rtol=5.0, max_draws=40)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


# -- closed forms --------------------------------------------------------------------------------------------------


@pytest.fixture
def quadratic(generator: torch.Generator) -> tuple[Objective, np.ndarray, np.ndarray]:
    """Least squares in 7 weights, away from the minimum: the objective, its gradient and its Hessian."""
    x = torch.randn(40, 7, generator=generator, dtype=torch.float64) * torch.arange(1, 8)
    y = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    torch.manual_seed(3)
    model = nn.Linear(7, 1, bias=False).double()
    objective = Objective(model, [(x, y)], "mse", dtype="float64")
    return objective, objective.gradient().numpy(), (2 * x.T @ x / 40).numpy()


@pytest.mark.parametrize("adaptive", ["none", "element"])
@pytest.mark.parametrize("rho", [1e-3, 0.1, 2.0])
def test_the_worst_case_of_a_quadratic_is_that_of_the_trust_region(
    quadratic: tuple[Objective, np.ndarray, np.ndarray], adaptive: Any, rho: float
) -> None:
    objective, gradient, hessian = quadratic
    scale = objective.theta.abs().numpy() if adaptive == "element" else np.ones(7)
    exact = largest(scale * gradient, scale[:, None] * hessian * scale, rho)
    result = measured(objective, adaptive=adaptive, rho=(rho,), steps=60, draws=0)
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx(exact, rel=1e-8)
    assert result.stationarity is not None
    assert result.stationarity[0] < 1e-6


def test_the_worst_case_in_a_box_is_at_a_corner(quadratic: tuple[Objective, np.ndarray, np.ndarray]) -> None:
    objective, gradient, hessian = quadratic
    corners = 0.3 * np.array(list(product((-1, 1), repeat=7)))
    exact = (corners @ gradient + np.einsum("ci,ij,cj->c", corners, hessian, corners) / 2).max()
    result = measured(objective, adaptive="none", norm="linf", rho=(0.3,), starts=12, draws=0)
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx(exact, rel=1e-10)


def test_a_maximum_inside_the_ball_is_found() -> None:
    """-||w - a||^2 has its maximum at a, within rho of the weights."""

    def hill(output: Tensor, target: Tensor) -> Tensor:
        return -((output - target) ** 2).sum(dim=1)

    model = nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.eye(3))
    objective = Objective(model, [(torch.eye(3).double(), 1.2 * torch.eye(3).double())], hill, dtype="float64")
    result = measured(objective, adaptive="none", rho=(1.0,), steps=60, draws=0)
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx(0.04, rel=1e-3)  # 3 (0.2)^2 over 3 samples
    at_the_top = Objective(model, [(torch.eye(3).double(), torch.eye(3).double())], hill, dtype="float64")
    assert measured(at_the_top, adaptive="none", rho=(1.0,), draws=0).s_max == 0  # the centre is in the ball


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_the_average_of_a_small_quadratic_is_half_its_trace(
    quadratic: tuple[Objective, np.ndarray, np.ndarray], noise: Any
) -> None:
    """The control variate holds all of a matrix of 7 rows: nothing is left to chance."""
    objective, _, hessian = quadratic
    result = measured(objective, rho=(0.01, 0.7), starts=0, draws=40, noise=noise)
    variance = 1.0 if noise == "gaussian" else 1 / 3
    exact = result.rho**2 / 2 * variance * (objective.theta.numpy() ** 2 * np.diag(hessian)).sum()
    assert result.s_avg_se is not None
    assert np.allclose(result.s_avg, exact, rtol=1e-8)
    assert np.allclose(result.s_avg_law, exact, rtol=1e-8)
    assert (result.s_avg_se < 1e-8 * exact).all()


def no_control(*arguments: Any) -> Generator[Any, None, tuple[None, str]]:
    """A search for a control variate that finds none."""
    yield from ()
    return None, "none is wanted"


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_without_a_control_the_average_is_that_of_the_draws(
    quadratic: tuple[Objective, np.ndarray, np.ndarray], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, _, hessian = quadratic
    monkeypatch.setattr("landscape.analyses.neighborhood.average_case._control_variate", no_control)
    result = measured(objective, rho=(0.01, 0.7), starts=0, draws=40, noise=noise)
    drawn = [seeds.normal(7, objective.theta, 0, "average", index).numpy() for index in range(40)]
    scale = objective.theta.abs().numpy()
    moves = scale * (
        np.stack(drawn) if noise == "gaussian" else torch.erf(torch.tensor(np.stack(drawn)) / 2**0.5).numpy()
    )
    curved = np.einsum("ki,ij,kj->k", moves, hessian, moves)
    assert result.s_avg is not None
    assert result.s_avg_se is not None
    assert np.allclose(result.s_avg, result.rho**2 * curved.mean() / 2, rtol=1e-8)
    assert np.allclose(result.s_avg_se, result.rho**2 * curved.std(ddof=1) / 2 / 40**0.5, rtol=1e-7)
    variance = 1.0 if noise == "gaussian" else 1 / 3
    exact = result.rho**2 / 2 * variance * (scale**2 * np.diag(hessian)).sum()
    assert (np.abs(result.s_avg - exact) < 4 * result.s_avg_se).all()
    assert result.s_avg_law is None


@pytest.mark.parametrize("draws", [8, 20])
def test_the_interval_of_the_average_covers(draws: int, generator: torch.Generator) -> None:
    """Least squares in 80 weights: the control variate holds a part of the curvature; below 16 draws it is not used."""
    x = torch.randn(200, 80, generator=generator, dtype=torch.float64) * torch.linspace(0.3, 3, 80)
    objective = Objective(nn.Linear(80, 1, bias=False).double(), [(x, torch.zeros(200, 1))], "mse", dtype="float64")
    exact = 0.1**2 / 2 * float((objective.theta**2 * 2 * x.square().mean(dim=0)).sum())
    covered = 0
    for seed in range(60):
        result = measured(objective, rho=(0.1,), starts=0, draws=draws, seed=seed)
        assert result.s_avg_interval is not None
        low, high = result.s_avg_interval[0]
        covered += low <= exact <= high
    assert 52 <= covered < 60  # of 60 at 95 %: fewer than 52 happens in 1 % of all cases


@pytest.mark.parametrize(("norm", "adaptive"), [("l2", "none"), ("linf", "element")])
def test_binary_logistic_regression_sample_by_sample(norm: Any, adaptive: Any, generator: torch.Generator) -> None:
    """softplus(z + rho ||x||) - softplus(z) with z = -y w'x; in a scaled box rho sum |w x| takes that place."""
    x = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    model = nn.Linear(5, 1, bias=False).double()
    z = -model(x).detach()[:, 0]
    reach = x.norm(dim=1) if norm == "l2" else (model.weight.detach()[0] * x).abs().sum(dim=1)
    exact = (functional.softplus(z + 0.5 * reach) - functional.softplus(z)).mean()
    objective = Objective(model, [(x, torch.ones(9, 1).double())], "bce", dtype="float64")
    result = measured(objective, m=1, norm=norm, adaptive=adaptive, rho=(0.5,), draws=0)
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx(float(exact), abs=3e-15)
    assert result.m == 1


# -- small radii ---------------------------------------------------------------------------------------------------


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


# -- batches -------------------------------------------------------------------------------------------------------


def test_how_the_data_are_batched_changes_nothing(classification: Data, split: Splitter) -> None:
    whole = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    cut = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64", micro_batch=5)
    for options in ({}, {"m": 7}):
        one, other = measured(whole, draws=5, **options), measured(cut, draws=5, **options)
        assert np.allclose(one.s_max, other.s_max, rtol=1e-10)
        assert np.allclose(one.s_avg, other.s_avg, rtol=1e-10)


def test_batches_are_weighted_by_what_they_count(classification: Data) -> None:
    x, y = classification
    result = measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"), m=10, draws=0)
    parts = [
        measured(Objective(tanh_net(), [(x[i : i + 10], y[i : i + 10])], "cross_entropy", dtype="float64"), draws=0)
        for i in (0, 10, 20)
    ]
    each = [float(part.s_max[0]) for part in parts]  # type: ignore[index]
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx((10 * each[0] + 10 * each[1] + 4 * each[2]) / 24, rel=1e-9)


def test_smaller_batches_are_sharper_and_larger_radii_too(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    values = [measured(objective, m=m, rho=(0.1, 0.3, 0.9), draws=0).s_max for m in (3, 6, 12, 24)]
    table = np.stack([value for value in values if value is not None])
    assert (np.diff(table, axis=0) < 0).all()
    assert (np.diff(table, axis=1) > 0).all()


# -- symmetries ----------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """One head without biases: q, k, v, o."""

    def __init__(self) -> None:
        super().__init__()
        for name in "qkvo":
            setattr(self, name, nn.Linear(6, 6, bias=False))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        out: Tensor = self.head(self.o(mixed).mean(dim=1))
        return out


def relu_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()


def attention() -> Attention:
    torch.manual_seed(0)
    return Attention().double()


def convolution() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    with torch.no_grad():
        model[1].running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr, operator]
        model[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return model


@torch.no_grad()
def layers_ten(model: Any) -> None:
    model[0].weight *= 10
    model[2].weight /= 10


@torch.no_grad()
def units(model: Any) -> None:
    factors = torch.logspace(-1, 1, 8, dtype=torch.float64)
    model[0].weight *= factors[:, None]
    model[2].weight /= factors


@torch.no_grad()
def query_key(model: Any) -> None:
    model.q.weight *= 10
    model.k.weight /= 10


@torch.no_grad()
def value_output(model: Any) -> None:
    model.v.weight *= 10
    model.o.weight /= 10


@torch.no_grad()
def batch_norm(model: Any) -> None:
    model[0].weight *= 10
    model[0].bias *= 10
    model[1].running_mean *= 10
    model[1].running_var.copy_(100 * (model[1].running_var + model[1].eps) - model[1].eps)


@torch.no_grad()
def logits(model: Any) -> None:
    model[2].weight *= 10


def inputs(shape: tuple[int, ...]) -> Data:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(20, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (20,), generator=generator)


SYMMETRIES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], None], tuple[int, ...]]] = {
    "ReLU layer x10, next /10": (relu_net, layers_ten, (6,)),
    "ReLU units": (relu_net, units, (6,)),
    "attention Q x10, K /10": (attention, query_key, (5, 6)),
    "attention V x10, O /10": (attention, value_output, (5, 6)),
    "BatchNorm filters x10": (convolution, batch_norm, (1, 4, 4)),
}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_adaptive_sharpness_is_invariant_where_the_standard_one_is_not(symmetry: str, norm: Any) -> None:
    build, change, shape = SYMMETRIES[symmetry]
    data = inputs(shape)
    before, after = build(), build()
    change(after)
    radius = 0.3 if norm == "l2" else 0.02

    def both(adaptive: Any) -> tuple[SharpnessResult, SharpnessResult]:
        one, other = (Objective(model, [data], "cross_entropy", dtype="float64") for model in (before, after))
        assert float(one.value()) == pytest.approx(float(other.value()), rel=1e-13)
        options = {"adaptive": adaptive, "norm": norm, "rho": (radius,), "draws": 4, "steps": 15}
        return measured(one, **options), measured(other, **options)

    one, other = both("element")
    for name in ("s_max", "s_avg", "scaled_gradient", "s_avg_law"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-10), name
    one, other = both("none")
    assert not np.allclose(one.s_max, other.s_max, rtol=0.05)
    if symmetry != "ReLU units":  # those rescale columns of the second layer, which are no filters
        filters = both("filter")
        assert np.allclose(filters[0].s_max, filters[1].s_max, rtol=1e-9)


def test_turning_queries_and_keys_changes_no_standard_measure() -> None:
    """A rotation keeps lengths, so that the round ball is the same; it does not keep |w|."""
    before, after = attention(), attention()
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    with torch.no_grad():
        after.q.weight.copy_(turn @ after.q.weight)  # type: ignore[operator, union-attr]
        after.k.weight.copy_(turn @ after.k.weight)  # type: ignore[operator, union-attr]
    one, other = (Objective(model, [inputs((5, 6))], "cross_entropy", dtype="float64") for model in (before, after))
    same = [measured(o, adaptive="none", rho=0.3, draws=0, starts=4).s_max for o in (one, other)]
    assert np.allclose(*same, rtol=1e-9)
    changed = [measured(o, adaptive="element", rho=0.3, draws=0, starts=4).s_max for o in (one, other)]
    assert not np.allclose(*changed, rtol=1e-6)


@pytest.mark.parametrize("logit_norm", ["l2", "std"])
def test_normalised_logits_make_it_invariant_to_their_scale(logit_norm: Any) -> None:
    data = inputs((6,))
    before, after = relu_net(), relu_net()
    logits(after)
    one, other = (
        measured(Objective(model, [data], "cross_entropy", dtype="float64"), logit_norm=logit_norm, draws=3)
        for model in (before, after)
    )
    assert np.allclose(one.s_max, other.s_max, rtol=1e-9)
    assert np.allclose(one.s_avg, other.s_avg, rtol=1e-9)
    assert one.loss != pytest.approx(other.loss, rel=0.1)
    z = before(data[0])
    centred = z - z.mean(dim=1, keepdim=True)
    size = centred.norm(dim=1, keepdim=True) / (3**0.5 if logit_norm == "std" else 1)
    assert one.normalised_loss == pytest.approx(float(functional.cross_entropy(centred / size, data[1]).detach()))


def test_normalised_logits_need_classes(quadratic: tuple[Objective, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(TaskError, match="--logit-norm needs logits with classes, and the loss is mse"):
        measured(quadratic[0], logit_norm="l2")


# -- odd weights ---------------------------------------------------------------------------------------------------


def test_zero_weights_do_not_move_and_break_nothing(classification: Data) -> None:
    model = tanh_net()
    with torch.no_grad():
        model[0].weight[0] = 0  # type: ignore[index, operator]
        model[0].bias.zero_()  # type: ignore[union-attr, operator]
    objective = Objective(model, [classification], "cross_entropy", dtype="float64")
    still = Objective(model, [classification], "cross_entropy", params=("0.weight", "2.*"), dtype="float64")
    for norm in ("l2", "linf"):
        one, other = (measured(o, norm=norm, rho=(0.2,), draws=8) for o in (objective, still))
        assert one.s_max is not None
        assert one.s_avg is not None
        assert np.isfinite([*one.s_max, *one.s_avg]).all()
        assert np.allclose(one.s_max, other.s_max, rtol=1e-5)  # the zero biases might as well be left out


def test_weights_that_are_all_zero_are_refused(classification: Data) -> None:
    model = nn.Linear(5, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    objective = Objective(model, [classification], "cross_entropy")
    with pytest.raises(UsageError, match="every scale is 0"):
        measured(objective)
    assert measured(objective, adaptive_eta=0.1, draws=2).s_max is not None


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(torch.tanh(self.embed(x)).mean(dim=1))
        return logits


def test_tied_weights_are_moved_once(generator: torch.Generator) -> None:
    x, y = torch.randint(0, 7, (12, 5), generator=generator), torch.randint(0, 7, (12,), generator=generator)
    torch.manual_seed(0)
    model = Tied()
    result = measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"), rho=(1e-4,), draws=3)
    assert result.parameters == 28
    loss = functional.cross_entropy(model.double()(x), y)
    loss.backward()
    slope = float((model.embed.weight.detach() * model.embed.weight.grad).norm())  # type: ignore[operator]
    assert result.s_max is not None
    assert result.s_max[0] == pytest.approx(1e-4 * slope, rel=1e-2)


def test_frozen_parameters_and_fixed_ones_stay_where_they_are(classification: Data) -> None:
    model = tanh_net()
    fixed = measured(Objective(model, [classification], "cross_entropy", dtype="float64"), fixed=("*.bias",), draws=6)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.endswith("bias"))
    frozen = measured(Objective(model, [classification], "cross_entropy", dtype="float64"), draws=0)
    assert frozen.s_max is not None
    assert fixed.s_max is not None
    assert fixed.s_max[0] == pytest.approx(frozen.s_max[0], rel=1e-5)
    assert fixed.parameters == frozen.parameters + 7


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


def test_a_loss_that_overflows_within_the_radius_is_inconclusive(classification: Data) -> None:
    def exploding(output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(40 * output.square().sum(dim=1))

    objective = Objective(tanh_net(), [classification], exploding)
    result = measured(objective, adaptive="none", rho=(3.0,), draws=4)
    assert "not finite within rho = 3" in str(result.trouble())
    assert "smaller --rho" in result.trouble().fix


# -- definitions of others -----------------------------------------------------------------------------------------


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


def test_the_protocol_of_andriushchenko_and_what_may_be_changed_in_it() -> None:
    chosen = Sharpness(preset="andriushchenko").protocol
    assert (chosen.m, chosen.starts, chosen.norm, chosen.adaptive) == (128, 1, "l2", "element")
    assert chosen.rho == (0.25, 0.5, 1.0, 2.0)
    assert chosen.average_rho == (0.05, 0.1, 0.2, 0.4)
    box = Sharpness(preset="andriushchenko", norm="linf", starts=5).protocol
    assert box.rho == (0.001, 0.002, 0.004, 0.008)
    assert box.starts == 5
    assert Sharpness(preset="andriushchenko", rho=(0.5,)).protocol.average_rho == (0.1,)
    assert Sharpness(preset="andriushchenko", rho=(0.3,), average_rho=(0.07,)).protocol.average_rho == (0.07,)
    with pytest.raises(UsageError, match="has no noise beside --rho 0.3"):
        Sharpness(preset="andriushchenko", rho=(0.3,))


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


def test_a_batch_that_counts_nothing_is_left_out(generator: torch.Generator) -> None:
    x, y = torch.randn(6, 4, 5, generator=generator), torch.randint(0, 3, (6, 4), generator=generator)
    y[2:4] = -100
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    result = measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"), m=2, draws=0)
    kept = torch.tensor([0, 1, 4, 5])
    other = measured(Objective(model, [(x[kept], y[kept])], "cross_entropy", dtype="float64"), m=2, draws=0)
    assert result.s_max == pytest.approx(other.s_max, rel=1e-9)


def test_logits_without_a_scale_are_told() -> None:
    model = nn.Linear(5, 3, bias=False)
    nn.init.zeros_(model.weight)
    objective = Objective(model, [(torch.ones(4, 5), torch.zeros(4, dtype=torch.long))], "cross_entropy")
    with pytest.raises(NumericalError, match="normalized logits is nan"):
        measured(objective, logit_norm="l2", adaptive="none")


def test_a_negated_glob_that_leaves_nothing_out_is_noted(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = measured(objective, unscaled=("!*wieght*",), draws=2, starts=1)
    assert any("no parameter matches *wieght*" in note for note in result.notes)


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": (0.1, -1.0)}, "--rho is -1"),
        ({"rho": (0.1, 0.2), "average_rho": (0.1,)}, "2 --rho and 1 --average-rho"),
        ({"starts": 0, "draws": 0}, "neither worst case nor average"),
        ({"adaptive": "layer"}, "--adaptive is 'layer'"),
        ({"preset": "swa"}, "--preset is 'swa'"),
        ({"average_rho": (float("nan"),)}, "--average-rho is nan"),
        ({"rho": "wide"}, "--rho is 'wide'"),
        ({"adaptive": "none", "unscaled": "*.bias"}, "--adaptive none does not scale"),
        ({"adaptive": "none", "adaptive_eta": 0.1}, "--adaptive none does not scale"),
        ({"draws": 1}, "--draws 1 has no standard error"),
        ({"draws": 0, "rtol": 0.1}, "--draws 0 leaves out"),
        ({"draws": 0, "rho": 0.1, "average_rho": 0.2}, "--draws 0 leaves out"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sharpness(**options)


def test_globs_that_match_nothing(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match=r"matches --fixed \*\.bais \(did you mean"):
        measured(objective, fixed=("*.bais",))


def test_radii_are_sorted_and_a_number_is_one_radius() -> None:
    assert Sharpness(rho=(0.3, 0.1, 0.3)).protocol.rho == (0.1, 0.3)
    assert Sharpness(rho=0.4).protocol.average_rho == (0.4,)  # type: ignore[arg-type]
    assert Sharpness(fixed="*.bias").scaling.fixed == ("*.bias",)  # type: ignore[arg-type]
    assert Sharpness(preset="asam", adaptive="none").protocol.unscaled == ()
    assert Sharpness(rho=(1.0, 0.5), average_rho=(0.1, 0.2)).protocol.average_rho == (0.2, 0.1)


def test_draws_go_on_until_the_interval_is_as_asked(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = measured(objective, starts=0, draws=10, rtol=0.2)
    assert result.s_avg is not None
    assert result.s_avg_interval is not None
    assert result.draws > 10
    assert np.ptp(result.s_avg_interval, axis=1)[0] / 2 <= 0.2 * result.s_avg[0]
    assert not result.trouble()
    assert measured(objective, starts=0, draws=50, rtol=1e-4, max_draws=20).draws == 20
    cut = measured(objective, starts=0, draws=10, rtol=1e-4, max_draws=30)
    assert cut.draws == 30
    assert "0.0001 was asked for" in str(cut.trouble())


def test_the_plan_counts_gradients_and_losses(classification: Data) -> None:
    plan = Sharpness(rho=(0.1, 0.2), m=10).plan(Objective(tanh_net(), [classification], "cross_entropy"))
    assert plan.facts["gradients"].startswith("at most 360")
    assert plan.facts["losses"] == "200"
    assert plan.facts["batches"] == "3 of 10 samples"
    assert plan.seconds > 0


def test_shares_of_layers_add_to_one(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = measured(objective, per_layer=True, draws=0, m=10)
    assert result.layer_share is not None
    assert result.layer is not None
    assert sorted(result.layer) == ["0", "2"]
    assert result.layer_share.sum() == pytest.approx(1)


# -- samples -------------------------------------------------------------------------------------------------------


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
