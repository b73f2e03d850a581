"""The answers that strangers are compared with agree with closed forms and with each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from landscape.seeds import normal
from strangers.answers import Answer
from strangers.catalog import STRANGERS
from strangers.posterior import learning_coefficient, localization
from strangers.samples import sample_gradients


def test_the_answer_of_a_linear_regression_is_the_closed_form() -> None:
    answer = Answer(STRANGERS["flat directions"])
    x = torch.cat([inputs for inputs, _ in answer.batches])
    y = torch.cat([targets for _, targets in answer.batches])
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    error = design @ answer.theta[:, None] - y
    torch.testing.assert_close(answer.hessian, 2 * design.T @ design / len(x))
    torch.testing.assert_close(answer.gradient, (2 * design.T @ error / len(x))[:, 0])
    assert answer.at_theta == pytest.approx(float((error**2).mean()))
    torch.testing.assert_close(sample_gradients(answer).mean(0), answer.gradient)


@pytest.mark.parametrize(("derivatives", "rtol"), [("gradients", 1e-7), ("values", 1e-4)])
@pytest.mark.parametrize("name", ["focal loss", "decay in the loss", "batch statistics"])
def test_differences_give_the_derivatives_of_autograd(name: str, derivatives: str, rtol: float) -> None:
    exact = Answer(STRANGERS[name])
    near = Answer(replace(STRANGERS[name], derivatives=derivatives))
    scale = float(exact.hessian.abs().max())
    torch.testing.assert_close(near.gradient, exact.gradient, rtol=0, atol=rtol * float(exact.gradient.norm()))
    torch.testing.assert_close(near.hessian, exact.hessian, rtol=0, atol=rtol * scale)
    if not exact.stranger.alone:
        return
    rows = sample_gradients(exact)
    torch.testing.assert_close(sample_gradients(near), rows, rtol=0, atol=rtol * float(rows.norm()))


def test_the_rises_in_a_ball_are_the_closed_forms_for_one_parameter() -> None:
    answer = Answer(STRANGERS["one parameter"])
    slope, bend = float(answer.gradient.norm()), float(answer.eigenvalues[0])
    assert answer.rise_in_ball(0.1) == pytest.approx(0.1 * slope + 0.1**2 * bend / 2)
    assert answer.gradient_in_ball(0.1) == pytest.approx(slope + 0.1 * bend)


def test_the_learning_coefficient_of_a_linear_regression_is_the_closed_form() -> None:
    answer = Answer(STRANGERS["flat directions"])
    nbeta, gamma = 10.0, 50.0
    precision = nbeta * answer.hessian + gamma * torch.eye(len(answer.theta), dtype=torch.float64)
    mean = -nbeta * torch.linalg.solve(precision, answer.gradient)
    second = torch.linalg.inv(precision) + torch.outer(mean, mean)
    exact = nbeta * float(answer.gradient @ mean + (answer.hessian * second).sum() / 2)
    assert learning_coefficient(answer, nbeta, gamma) == pytest.approx((exact, 0.0), abs=1e-9)


def test_the_learning_coefficient_is_that_of_plain_importance_sampling() -> None:
    answer = Answer(STRANGERS["focal loss"])
    nbeta, gamma = 200.0, localization(answer, 200.0)
    value, error = learning_coefficient(answer, nbeta, gamma)
    moves = [normal(len(answer.theta), answer.theta, 3, "plain", draw) / gamma**0.5 for draw in range(2000)]
    excess = torch.tensor([nbeta * (answer.value(answer.theta + move) - answer.at_theta) for move in moves])
    weights = torch.softmax(-excess, dim=0)
    plain = float(weights @ excess)
    spread = float((len(excess) * weights * (excess - plain)).std()) / len(excess) ** 0.5
    assert 0 < error < spread
    assert abs(value - plain) < 4 * spread


def test_a_rounded_tensor_has_its_largest_entry_and_no_more_levels_than_bits_allow() -> None:
    answer = Answer(STRANGERS["focal loss"])
    moved = answer.rounded(3)
    for before, after in zip(
        *(v.split([p.numel() for p in answer.parameters]) for v in (answer.theta, moved)), strict=True
    ):
        assert after.abs().max() == pytest.approx(float(before.abs().max()))
        assert len(after.abs().unique()) <= 4
        assert (after - before).abs().max() <= before.abs().max() / 6 + 1e-12
