"""Relative flatness against its definition."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, OnceNet, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn

import landscape
from landscape import Measures, Objective
from landscape.analyses.measures import MeasuresResult
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> MeasuresResult:
    result: MeasuresResult = landscape.run(Measures(**options), objective)
    return result


def test_relative_flatness_is_the_sum_over_pairs_of_rows(classification: Data) -> None:
    model = tanh_net().double()
    weight = model[0].weight.detach().numpy()  # type: ignore[union-attr, operator]
    hessian = dense_hessian(tanh_net(), [classification]).numpy()[:20, :20].reshape(4, 5, 4, 5)
    exact = sum(weight[s] @ weight[t] * np.trace(hessian[s, :, t, :]) for s in range(4) for t in range(4))
    objective = Objective(model, [classification], "cross_entropy", dtype="float64")
    result = measured(objective, layer="0.weight", draws=0, rtol=1e-4)
    assert result.relative_flatness == pytest.approx(float(exact), rel=1e-9)  # a small matrix is summed exactly
    assert result.relative_flatness_se == 0
    estimated = [measured(objective, layer="0.weight", draws=0, rtol=0.2, seed=s, max_products=18) for s in range(8)]
    assert all(abs(r.relative_flatness - exact) <= 5 * r.relative_flatness_se + 1e-9 for r in estimated)  # type: ignore[operator]


def test_relative_flatness_does_not_change_when_layers_are_rescaled(generator: torch.Generator) -> None:
    x, y = torch.randn(30, 6, generator=generator).double(), torch.randint(0, 3, (30,), generator=generator)
    values = []
    for factor in (1.0, 7.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
        with torch.no_grad():
            model[0].weight *= factor  # type: ignore[operator]
            model[2].weight /= factor  # type: ignore[operator]
        values.append(measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"), draws=0).relative_flatness)
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_the_default_layer_is_the_last_matrix_and_others_are_named(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    default, named = measured(objective, draws=0), measured(objective, draws=0, layer="2.weight")
    assert default.relative_flatness == named.relative_flatness
    with pytest.raises(UsageError, match=r"--layer 2\.bias is no matrix"):
        next(Measures(layer="2.bias").measure(objective))  # before anything is measured
    assert "relative flatness is that of 2.weight" in default.notes


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose1d(2, 3, 4),
        nn.Conv1d(2, 3, 4),
        nn.Conv1d(4, 6, 2, groups=2),
        nn.ConvTranspose1d(4, 6, 2, groups=2),
    ],
    ids=["transposed", "convolution", "grouped", "transposed-grouped"],
)
@pytest.mark.parametrize("wide", [False, True])
def test_relative_flatness_is_over_filters_wherever_they_lie(
    layer: Any, wide: bool, generator: torch.Generator
) -> None:
    """By filters of the dense Hessian; a classifier of more rows than columns takes the other factor of W W'."""
    layer = copy.deepcopy(layer)
    inputs, length = layer.in_channels, 6
    out = layer(torch.zeros(1, inputs, length)).numel()
    model = nn.Sequential(layer, nn.Flatten(), nn.Tanh(), nn.Linear(out, 3)).double()
    x = torch.randn(5, inputs, length, generator=generator, dtype=torch.float64)
    objective = Objective(model, [(x, torch.tensor([0, 1, 2, 0, 1]))], "cross_entropy", dtype="float64")
    name = "3.weight" if wide else "0.weight"
    weight = model.get_parameter(name).detach()
    from landscape.operators import HessianOperator

    block = objective.space.groups_matching([name])[0]
    (begin, end) = block.ranges[0]
    hessian = HessianOperator(objective).to_dense()[begin:end, begin:end]
    exact, filters = 0.0, _filters(layer if not wide else model[3], weight)
    for one in filters:
        for other in filters:
            overlap = float(weight.flatten()[one] @ weight.flatten()[other])
            exact += overlap * float(hessian[one][:, other].trace())
    result = measured(objective, layer=name, draws=0, rtol=1e-6)
    assert result.relative_flatness == pytest.approx(exact, rel=1e-8)


def _filters(layer: Any, weight: Tensor) -> list[Tensor]:
    """The places of each filter's entries in the flat weight, by hand."""
    places = torch.arange(weight.numel()).view(weight.shape)
    if not isinstance(layer, nn.ConvTranspose1d):
        return [row.flatten() for row in places]
    per_group = layer.in_channels // layer.groups
    groups = [places[g * per_group : (g + 1) * per_group] for g in range(layer.groups)]
    return [group[:, output].flatten() for group in groups for output in range(weight.shape[1])]


def test_relative_flatness_that_was_not_reached_is_inconclusive() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=60)
    cut = measured(objective, rtol=1e-4, max_products=20, draws=0)
    assert "0.0001 of it was asked for" in str(cut.trouble())
    assert "--max-products" in cut.trouble().fix
    assert measured(objective, rtol=1e-4, max_products=1, draws=0).trouble()


def test_wrong_second_derivatives_leave_the_other_measures(classification: Data) -> None:
    objective = Objective(OnceNet(), [classification], "cross_entropy")
    result = measured(objective, layer="a.weight", draws=1)
    assert result.relative_flatness is None
    assert result.noise_scale is not None
    assert any("no relative flatness" in note for note in result.notes)


def test_a_hessian_that_is_zero_has_no_relative_flatness_at_all(generator: torch.Generator) -> None:
    x = torch.randn(10, 5, generator=generator)
    result = measured(Objective(nn.Linear(5, 2), [(x, x[:, :2])], nn.L1Loss()))
    assert result.relative_flatness == 0
    assert not result.trouble()
