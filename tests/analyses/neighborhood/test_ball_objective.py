"""The functions that ascents maximize: with normalized logits, and the norm of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.ball_objective import gradient_norm_in_ball, loss_in_ball, require_finite_base
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.compute import budget
from landscape.errors import NumericalError, TaskError, UsageError

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


def relu_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()


@torch.no_grad()
def logits(model: Any) -> None:
    model[2].weight *= 10


def inputs(shape: tuple[int, ...]) -> Data:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(20, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (20,), generator=generator)


@pytest.mark.parametrize("logit_norm", ["l2", "std"])
def test_normalized_logits_make_it_invariant_to_their_scale(logit_norm: Any) -> None:
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
    centered = z - z.mean(dim=1, keepdim=True)
    size = centered.norm(dim=1, keepdim=True) / (3**0.5 if logit_norm == "std" else 1)
    assert one.normalised_loss == pytest.approx(float(functional.cross_entropy(centered / size, data[1]).detach()))


def test_normalized_logits_need_classes(quadratic: tuple[Objective, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(TaskError, match="--logit-norm needs logits with classes, and the loss is mse"):
        measured(quadratic[0], logit_norm="l2")


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


def test_globs_that_match_nothing(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match=r"matches --fixed \*\.bais \(did you mean"):
        measured(objective, fixed=("*.bais",))


def test_the_slope_of_the_gradient_s_norm_is_what_differences_show(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    scale = objective.theta.abs()
    here = gradient_norm_in_ball(scale)(objective)
    row = 0.5 * torch.randn(objective.space.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6 * torch.randn(objective.space.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values, slopes = here.evaluate(torch.stack([row, row + step, row - step]))
    assert values[1] - values[2] == pytest.approx(2 * float(slopes[0] @ step), rel=1e-5)
    assert values[0] == pytest.approx(
        float((scale * objective.gradient(objective.theta + scale * row)).norm()), rel=1e-12
    )


def test_the_slope_of_a_large_model_is_computed_anew(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    scale = objective.theta.abs()
    function = loss_in_ball(scale, starts=1)(objective)
    first, again = function.slope(), function.slope()
    assert first.data_ptr() != again.data_ptr()
    assert torch.equal(first, again)
    assert torch.allclose(first, scale * objective.gradient(), rtol=1e-12)


def test_the_slope_of_the_loss_in_the_ball_is_what_differences_show(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    scale = objective.theta.abs()
    function = loss_in_ball(scale, starts=3)(objective)
    assert function.base == float(objective.value())
    assert torch.allclose(function.slope(), scale * objective.gradient(), rtol=1e-12)
    generator = torch.Generator().manual_seed(0)
    row, step = torch.randn(2, objective.space.size, generator=generator, dtype=torch.float64)
    values, slopes = function.evaluate(torch.stack([row, row + 1e-6 * step, row - 1e-6 * step]))
    assert values[0] == pytest.approx(float(objective.value(objective.theta + scale * row)), rel=1e-12)
    assert values[1] - values[2] == pytest.approx(2e-6 * float(slopes[0] @ step), rel=1e-5)


@pytest.mark.parametrize(("logit_norm", "fix"), [("none", "--dtype float64"), ("l2", "--logit-norm none")])
def test_a_loss_that_is_not_finite_at_the_weights_is_refused(logit_norm: str, fix: str) -> None:
    require_finite_base(0.5, logit_norm)
    with pytest.raises(NumericalError, match="loss .*is inf") as caught:
        require_finite_base(float("inf"), logit_norm)
    assert fix in caught.value.fix
