"""The answers that strangers are compared with agree with closed forms and with each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from strangers.answers import Answer
from strangers.catalog import STRANGERS


def test_the_answer_of_a_linear_regression_is_the_closed_form() -> None:
    answer = Answer(STRANGERS["flat directions"])
    x = torch.cat([inputs for inputs, _ in answer.batches])
    y = torch.cat([targets for _, targets in answer.batches])
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    error = design @ answer.theta[:, None] - y
    torch.testing.assert_close(answer.hessian, 2 * design.T @ design / len(x))
    torch.testing.assert_close(answer.gradient, (2 * design.T @ error / len(x))[:, 0])
    assert answer.at_theta == pytest.approx(float((error**2).mean()))
    torch.testing.assert_close(answer.sample_gradients().mean(0), answer.gradient)


@pytest.mark.parametrize(("derivatives", "rtol"), [("gradients", 1e-7), ("values", 1e-4)])
@pytest.mark.parametrize("name", ["focal loss", "decay in the loss", "batch statistics"])
def test_differences_give_the_derivatives_of_autograd(name: str, derivatives: str, rtol: float) -> None:
    exact = Answer(STRANGERS[name])
    near = Answer(replace(STRANGERS[name], derivatives=derivatives))
    scale = float(exact.hessian.abs().max())
    torch.testing.assert_close(near.gradient, exact.gradient, rtol=0, atol=rtol * float(exact.gradient.norm()))
    torch.testing.assert_close(near.hessian, exact.hessian, rtol=0, atol=rtol * scale)


def test_the_rises_in_a_ball_are_the_closed_forms_for_one_parameter() -> None:
    answer = Answer(STRANGERS["one parameter"])
    slope, bend = float(answer.gradient.norm()), float(answer.eigenvalues[0])
    assert answer.rise_in_ball(0.1) == pytest.approx(0.1 * slope + 0.1**2 * bend / 2)
    assert answer.gradient_in_ball(0.1) == pytest.approx(slope + 0.1 * bend)
