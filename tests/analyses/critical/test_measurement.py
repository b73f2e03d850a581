"""The critical step against closed forms, fine line searches and a run at the edge of stability."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import ROOT, SAMPLES, OnceNet, Splitter, tanh_net
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import scaled_dot_product_attention

import landscape
from landscape import Critical, Objective
from landscape.analyses.critical.result import CriticalResult
from landscape.errors import CheckpointError, NumericalError

Data = tuple[Tensor, Tensor]


class TestCritical(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Critical:
        return Critical(lr=0.5)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestRelative(AnalysisContract):
    @pytest.fixture
    def analysis(self, classification: Data) -> Critical:
        x, y = classification
        return Critical(other_data=(x[:20] + 0.1, y[:20]))  # type: ignore[arg-type]

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")

    def test_a_snapshot_of_another_run_is_refused_until_discarded(
        self, analysis: Critical, objective: Objective, tmp_path: Path
    ) -> None:
        """The data of this test are an object, which the options of a snapshot do not hold."""


def measured(objective: Objective, analysis: Critical | None = None) -> CriticalResult:
    result: CriticalResult = landscape.run(analysis or Critical(), objective)
    return result


def regression(seed: int, samples: int = 24) -> Data:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 6, generator=generator, dtype=torch.float64) * torch.arange(1, 7)
    return x, torch.randn(samples, 1, generator=generator, dtype=torch.float64)


def linear() -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(6, 1, bias=False).double()


def hessian_of(data: Data) -> Tensor:
    return 2 * data[0].T @ data[0] / len(data[0])


# -- closed forms -------------------------------------------------------------------------------------------------


def test_along_the_gradient_of_a_quadratic_it_is_the_rayleigh_quotient(split: Splitter) -> None:
    data = regression(0)
    objective = Objective(linear(), split(*data), "mse", dtype="float64")
    result, g = measured(objective), objective.gradient()
    exact = float(g @ hessian_of(data) @ g / (g @ g))
    assert result.critical_sharpness == pytest.approx(exact, rel=1e-9)
    assert result.critical_step == pytest.approx(2 / exact, rel=1e-9)
    assert result.slope == pytest.approx(-float(g @ g), rel=1e-12)
    assert result.passes <= 7
    assert result.trouble() is None
    np.testing.assert_array_less(result.bracket[0], result.critical_step)
    np.testing.assert_array_less(result.critical_step, result.bracket[1])


@pytest.mark.parametrize("decay", [0.0, 0.7], ids=["plain", "weight-decay"])
def test_weight_decay_is_part_of_the_loss(decay: float) -> None:
    data = regression(1)
    objective = Objective(linear(), [data], "mse", dtype="float64", weight_decay=decay)
    g = objective.gradient()
    matrix = hessian_of(data) + decay * torch.eye(6, dtype=torch.float64)
    assert measured(objective).critical_sharpness == pytest.approx(float(g @ matrix @ g / (g @ g)), rel=1e-9)


def test_the_relative_form_of_two_quadratics_is_known() -> None:
    """Along the gradient g of A the loss of B crosses at 2 g'h / (g'H g), with h and H those of B."""
    first, second = regression(3), regression(4, samples=30)
    objective, other = (Objective(linear(), [data], "mse", dtype="float64") for data in (first, second))
    g, h = objective.gradient(), other.gradient()
    exact = float(2 * (g @ h) / (g @ hessian_of(second) @ g))
    assert exact > 0
    result = measured(objective, Critical(other_data=second))  # type: ignore[arg-type]
    assert result.critical_step == pytest.approx(exact, rel=1e-9)
    assert result.other_loss == pytest.approx(float(other.value()), rel=1e-12)
    assert result.loss == pytest.approx(float(objective.value()), rel=1e-12)
    assert (result.samples, result.other_samples, result.slope) == (24, 30, None)


def test_towards_a_checkpoint_a_quadratic_crosses_at_twice_its_projection() -> None:
    data = regression(5)
    objective = Objective(linear(), [data], "mse", dtype="float64")
    best = torch.linalg.lstsq(data[0], data[1]).solution.T
    result = measured(objective, Critical(update={"weight": best}))  # type: ignore[arg-type]
    assert result.critical_step == pytest.approx(2.0, rel=1e-9)  # the minimum is half-way
    assert result.edge is None


def test_along_adam_s_update_it_is_twice_the_slope_over_the_curvature(tmp_path: Path) -> None:
    data = regression(6)
    net = linear()
    adam = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(3):
        adam.zero_grad()
        nn.functional.mse_loss(net(data[0]), data[1]).backward()
        adam.step()
    torch.save({"model": net.state_dict(), "optimizer": adam.state_dict()}, tmp_path / "a.pt")
    torch.save(data, tmp_path / "data.pt")
    (tmp_path / "task.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(6, 1, bias=False).double()\n"
        f"def data():\n    return [torch.load({str(tmp_path / 'data.pt')!r})]\n"
    )
    task = tmp_path / "task.py"
    objective = landscape.load(
        tmp_path / "a.pt", model=f"{task}:build", data=f"{task}:data", loss="mse", dtype="float64"
    )
    before = net.weight.detach().clone()
    adam.zero_grad()
    nn.functional.mse_loss(net(data[0]), data[1]).backward()
    g = net.weight.grad
    assert g is not None
    g = g.clone().reshape(-1)
    adam.step()
    d = (before - net.weight.detach()).reshape(-1) / 0.05
    exact = float(2 * (g @ d) / (d @ hessian_of(data) @ d))
    result = measured(objective, Critical(update="adam"))
    assert not any("--update adam" in note for note in result.notes)
    assert any("--update adam follows" in note for note in measured(objective, Critical()).notes)
    assert result.critical_step == pytest.approx(exact, rel=1e-7)
    assert result.learning_rate == 0.05
    assert result.edge == pytest.approx(40)
    assert result.edge_ratio == pytest.approx(0.05 / exact, rel=1e-7)


def test_adam_without_a_state_is_refused(classification: Data) -> None:
    with pytest.raises(CheckpointError, match="--update gradient"):
        measured(Objective(tanh_net(), [classification], "cross_entropy"), Critical(update="adam"))


# -- other losses -------------------------------------------------------------------------------------------------


def fine_crossing(objective: Objective, end: float, points: int = 400) -> float:
    """The first crossing of the loss along the gradient on a fine grid, interpolated."""
    gradient, base = objective.gradient(), float(objective.value())
    before = -math.inf
    for step in np.linspace(end / points, end, points):
        change = float(objective.value(objective.theta - step * gradient)) - base
        if change >= 0:
            return float(step - end / points * change / (change - before))
        before = change
    raise AssertionError("no crossing")


def test_a_net_s_crossing_is_that_of_a_fine_line_search(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    result = measured(objective)
    assert result.critical_step == pytest.approx(fine_crossing(objective, 2 * result.critical_step), rel=2e-3)


@pytest.mark.slow
def test_digits_resnet_agrees_with_a_fine_line_search_in_few_passes() -> None:
    objective = landscape.load(SAMPLES / "digits-resnet.pt", limit=256)
    result = measured(objective)
    assert result.passes <= 10
    assert result.critical_step == pytest.approx(fine_crossing(objective, 1.5 * result.critical_step, 40), rel=0.02)


def test_every_number_is_the_same_in_every_split(classification: Data, split: Splitter) -> None:
    whole = measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"))
    parts = measured(Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64"))
    assert parts.critical_step == pytest.approx(whole.critical_step, rel=1e-9)
    np.testing.assert_allclose(parts.interval, whole.interval, rtol=1e-9)


def test_selected_parameters_alone_move(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", params=("2.*",))
    result = measured(objective)
    assert result.parameters == 15
    assert result.critical_step == pytest.approx(fine_crossing(objective, 2 * result.critical_step), rel=2e-3)


def test_a_loss_without_samples_has_no_interval(classification: Data) -> None:
    def pairs(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """The sum over pairs of consecutive samples, and their number."""
        output = model(batch[0])
        return (output[1:] - output[:-1] - 1).square().sum(), len(output) - 1

    objective = Objective(tanh_net(), [classification], objective=pairs, dtype="float64")
    result = measured(objective)
    assert result.critical_step == pytest.approx(fine_crossing(objective, 2 * result.critical_step), rel=2e-3)
    assert result.interval is result.critical_step_se is result.point_change_error is None
    assert any("no interval" in note for note in result.notes)


# -- where nothing else runs --------------------------------------------------------------------------------------


def test_a_net_without_second_derivatives_is_measured(classification: Data) -> None:
    objective = Objective(OnceNet(), [classification], "cross_entropy", dtype="float64")
    with pytest.raises(NumericalError, match="not symmetric"):
        landscape.run(landscape.Eig(k=1), objective)
    result = measured(Objective(OnceNet(), [classification], "cross_entropy", dtype="float64"))
    assert result.trouble() is None
    assert result.critical_step == pytest.approx(fine_crossing(objective, 2 * result.critical_step), rel=2e-3)


class Attending(nn.Module):
    """Attention by torch's fused kernel, of which it counts the passes that ran it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(n, 3)` of sequences `(n, t, 8)`."""
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        out: Tensor = self.head(scaled_dot_product_attention(q, k, v).squeeze(1).mean(dim=1))
        return out


def test_attention_runs_in_fused_kernels() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 16, 8, generator=generator), torch.randint(0, 3, (10,), generator=generator)
    objective = Objective(Attending(), [(x, y)], "cross_entropy")
    steps = Critical().measure(objective)
    _ = objective.reference
    next(steps)  # the gradient, and the pass at the weights
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        next(steps)
    assert any("flash_attention" in event.key for event in profile.key_averages())


# -- no critical step ---------------------------------------------------------------------------------------------


def scalar_objective(loss: Callable[[Tensor], Tensor], start: float, dtype: str = "float64") -> Objective:
    """The loss as a function of one weight, for each of three samples."""

    class One(nn.Module):
        """A single weight."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([start]))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.w

    def losses(model: nn.Module, batch: Any) -> Tensor:
        """The loss of each sample."""
        found: Tensor = loss(model(batch[0]))
        return found

    x = torch.ones(3, dtype=getattr(torch, dtype))
    return Objective(One(), [(x, x)], objective=losses, dtype=dtype)


def test_a_loss_that_never_rises_is_a_bound_and_no_number() -> None:
    result = measured(scalar_objective(lambda w: -w, 1.0))
    trouble = result.trouble()
    assert trouble
    assert "still below that at the weights" in trouble.why
    assert math.isnan(result.critical_step)
    assert math.isinf(result.bracket[1])


def test_an_update_that_leads_upwards_has_no_critical_step() -> None:
    objective = scalar_objective(lambda w: w**2, 1.0)
    result = measured(objective, Critical(update={"w": torch.tensor([2.0])}))  # type: ignore[arg-type]
    trouble = result.trouble()
    assert trouble
    assert trouble.kind == "degenerate"
    assert "nowhere below that at the weights" in trouble.why
    assert result.bracket[0] == 0


def test_a_loss_that_ends_to_be_finite_is_said() -> None:
    """-log(w - w^2 / 2 ...): the loss falls with w up to 2, and is infinite from there on."""
    objective = scalar_objective(lambda w: torch.where(w < 2, -w, torch.full_like(w, math.inf)), 1.0)
    result = measured(objective, Critical(passes=20))
    trouble = result.trouble()
    assert trouble
    assert trouble.kind == "not finite"
    assert result.bracket[0] < 1 <= result.bracket[1]


def test_a_drop_below_rounding_is_said() -> None:
    """In float32 a loss of 1,000 cannot show a drop of 1e-6."""
    objective = scalar_objective(lambda w: 1000 + 1e-3 * (w - 1.0001) ** 2, 1.0, "float32")
    result = measured(objective)
    trouble = result.trouble()
    assert trouble
    assert "rounding" in trouble.why or "nowhere below" in trouble.why


# -- errors -------------------------------------------------------------------------------------------------------


def test_changes_of_float32_are_within_rounding_of_float64(classification: Data) -> None:
    single, double = (Objective(tanh_net(), [classification], "cross_entropy", dtype=d) for d in ("float32", "float64"))
    result = measured(single)
    direction, base = double.gradient(), double.value()
    for step, change in zip(result.point_step, result.point_change, strict=True):
        exact = float(double.value(double.theta - step * direction) - base)
        assert abs(change - exact) < result.rounding + 1e-5 * abs(exact)


def test_the_interval_is_that_of_the_losses_on_a_fine_grid() -> None:
    """The steps at which a mean change of 0 is within 1.96 standard errors; the loss is far from quadratic."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    y = (x[:, 0] + 0.5 * torch.randn(400, generator=generator, dtype=torch.float64) > 0).long()
    net = tanh_net().double()
    objective = Objective(net, [(x, y)], "cross_entropy", dtype="float64")
    result = measured(objective)
    assert result.interval is not None
    named, gradient = dict(net.named_parameters()), objective.space.unflatten(objective.gradient())

    def losses(step: float) -> np.ndarray:
        moved = {name: parameter.detach() - step * gradient[name] for name, parameter in named.items()}
        found = functional_call(net, moved, x)
        return nn.functional.cross_entropy(found, y, reduction="none").numpy()

    base, inside = losses(0.0), []
    for step in np.linspace(0.3, 3, 400) * result.critical_step:
        change = losses(step) - base
        if abs(change.mean()) <= 1.96 * change.std(ddof=1) / 20:
            inside.append(step)
    np.testing.assert_allclose(result.interval, [min(inside), max(inside)], rtol=0.03)


def test_the_interval_covers_the_population_s_crossing_along_a_fixed_update() -> None:
    """Samples y = x'w* + noise with x normal: the loss is |w - w*|^2 + 1, and crosses at 2 along w - w*."""
    truth, start = torch.full((1, 6), 0.5, dtype=torch.float64), torch.zeros(1, 6, dtype=torch.float64)
    inside = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(80, 6, generator=generator, dtype=torch.float64)
        y = x @ truth.T + torch.randn(80, 1, generator=generator, dtype=torch.float64)
        net = nn.Linear(6, 1, bias=False).double()
        net.load_state_dict({"weight": start})
        result = measured(Objective(net, [(x, y)], "mse", dtype="float64"), Critical(update={"weight": truth}))  # type: ignore[arg-type]
        assert result.interval is not None
        inside.append(bool(result.interval[0] <= 2 <= result.interval[1]))
    assert sum(inside) >= 52  # 95 % of 60 are 57; less than 52 has a probability of .007


def test_the_standard_error_is_the_spread_over_data_sets() -> None:
    truth = torch.full((1, 6), 0.5, dtype=torch.float64)
    steps, errors = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(100 + seed)
        x = torch.randn(150, 6, generator=generator, dtype=torch.float64)
        y = x @ truth.T + torch.randn(150, 1, generator=generator, dtype=torch.float64)
        net = nn.Linear(6, 1, bias=False).double()
        nn.init.zeros_(net.weight)
        result = measured(Objective(net, [(x, y)], "mse", dtype="float64"), Critical(update={"weight": truth}))  # type: ignore[arg-type]
        steps.append(result.critical_step)
        errors.append(result.critical_step_se)
    assert np.mean(errors) == pytest.approx(np.std(steps, ddof=1), rel=0.3)


# -- the edge of stability ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_at_the_edge_of_stability_the_learning_rate_is_about_the_critical_step() -> None:
    """Full-batch gradient descent of docs/edge_of_stability.py: eta lambda_c settles at 2."""
    example = runpy.run_path(str(ROOT / "docs" / "edge_of_stability.py"))
    model, inputs, targets = example["begin"]()
    loss, rate, found = example["half_squared_norm"], 0.8, []
    descent = torch.optim.SGD(model.parameters(), lr=rate)
    objective = Objective(model, [(inputs, targets)], loss)
    early = measured(objective, Critical(lr=rate)).critical_sharpness
    for step in range(1200):
        if step >= 600 and step % 40 == 0:
            found.append(measured(objective.at(model), Critical(lr=rate)).edge_ratio)
        descent.zero_grad()
        loss(model(inputs), targets).mean().backward()
        descent.step()
    ratios = np.array(found, dtype=float)
    assert early * rate < 1
    assert 0.98 < ratios.mean() < 1.02
    assert ((ratios > 0.9) & (ratios < 1.1)).all()
