"""The scale of each weight: 1, its own size, or its filter's norm."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.errors import UsageError
from landscape.evaluation.scaling import unmatched_exceptions, weight_scales

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy")


def test_the_standard_ball_has_scale_one(objective: Objective) -> None:
    assert weight_scales(objective, "none").values.tolist() == [1.0] * objective.space.size


def test_element_wise_it_is_the_weight_s_size_plus_eta(objective: Objective) -> None:
    found = weight_scales(objective, "element", eta=0.5).values
    assert torch.equal(found, objective.theta.abs() + 0.5)


def test_filter_wise_it_is_the_norm_of_the_row(objective: Objective) -> None:
    found = objective.space.unflatten(weight_scales(objective, "filter").values)
    weight = objective.model.get_parameter("0.weight").detach()
    assert torch.allclose(found["0.weight"], weight.norm(dim=1, keepdim=True).expand_as(weight))


def test_unscaled_weights_have_scale_one_and_fixed_ones_zero(objective: Objective) -> None:
    scales = weight_scales(objective, "element", unscaled=("*.bias",), fixed=("0.weight",))
    found = objective.space.unflatten(scales.values)
    assert bool((found["0.bias"] == 1).all())
    assert not found["0.weight"].any()
    assert torch.equal(found["2.weight"], objective.model.get_parameter("2.weight").detach().abs())
    assert scales.notes == ()


def test_an_exception_that_matches_nothing_is_noted(objective: Objective) -> None:
    notes = weight_scales(objective, "element", unscaled=("!*.nothing",)).notes
    assert notes == ("no parameter matches *.nothing, so that --unscaled !*.nothing is every parameter",)
    assert objective.notes == ()
    assert unmatched_exceptions(objective.space, ("!*.bias", "*.weight")) == ()


@pytest.mark.parametrize(
    ("weights", "fixed", "message"),
    [(1.0, ("*",), r"--fixed matches all of them\n.*fewer --fixed"), (0.0, (), r"its own size, which is 0\n.*eta")],
    ids=["all-fixed", "all-zero"],
)
def test_weights_that_may_not_move_are_refused(
    objective: Objective, weights: float, fixed: tuple[str, ...], message: str
) -> None:
    objective.theta.mul_(weights)
    with pytest.raises(UsageError, match=message):
        weight_scales(objective, "element", fixed=fixed)
