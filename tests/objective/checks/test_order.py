"""The checks of a measurement in words."""

from __future__ import annotations

from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.objective.checks.order import describe_order


def test_a_plan_says_which_checks_it_has_not_made() -> None:
    words = describe_order(())
    assert words.startswith(
        "before it, purity, loss, modes, leaves, gradient, independence: not made by a plan; at the"
    )
    assert "slope (3 gradients of a few" in words


def test_checks_that_a_plan_needed_are_made(classification: tuple[Tensor, Tensor]) -> None:
    checks = Objective(tanh_net(), [classification], "cross_entropy").checks
    assert describe_order(checks).startswith("purity, loss, modes, leaves, gradient, independence: made; at the end")
