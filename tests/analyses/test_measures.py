"""Measures against their definitions."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, OnceNet, Splitter, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Measures, Objective
from landscape.analyses.measures import MeasuresResult
from landscape.analyses.pac_bayes import noisy_error
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestMeasures(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Measures:
        return Measures(draws=3, rtol=0.3)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def measured(objective: Objective, **options: Any) -> MeasuresResult:
    result: MeasuresResult = landscape.run(Measures(**options), objective)
    return result


def own_gradients(model: nn.Module, data: Data) -> Tensor:
    """Each sample's gradient, `(N, P)`, by a loop."""
    rows = []
    for x, y in zip(*data, strict=True):
        loss = functional.cross_entropy(model(x[None].double()), y[None])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows)


def test_noise_scale_and_fisher_rao_norm_from_every_sample(classification: Data, split: Splitter) -> None:
    model = tanh_net().double()
    rows = own_gradients(model, classification)
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    result = measured(Objective(model, split(*classification), "cross_entropy", dtype="float64"), draws=0)
    assert result.noise_trace == pytest.approx(float(rows.var(dim=0).sum()), rel=1e-10)
    assert result.noise_scale == pytest.approx(
        float(rows.var(dim=0).sum() / rows.mean(dim=0).square().sum()), rel=1e-10
    )
    assert result.fisher_rao == pytest.approx(float((rows @ theta).square().mean().sqrt()), rel=1e-10)


def test_samples_are_taken_one_by_one_where_the_model_cannot_be_vectorised(classification: Data) -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out if float(out.detach().sum()) > -1e9 else -out

    one, other = (
        measured(Objective(model, [classification], "cross_entropy", dtype="float64"), draws=0)
        for model in (Choosing(), tanh_net())
    )
    assert one.noise_trace == pytest.approx(other.noise_trace, rel=1e-12)
    assert one.fisher_rao == pytest.approx(other.fisher_rao, rel=1e-12)


def test_fisher_rao_of_a_homogeneous_net_is_that_of_its_outputs(generator: torch.Generator) -> None:
    """w . grad l = L <dl/df, f> for a ReLU net of L layers without biases (Liang et al. 2019, theorem 3.1)."""
    x, y = torch.randn(30, 6, generator=generator).double(), torch.randint(0, 3, (30,), generator=generator)
    torch.manual_seed(0)
    layers = [
        nn.Linear(6, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 3, bias=False),
    ]
    model = nn.Sequential(*layers).double()
    output = model(x).detach()
    slope = output.softmax(1) - functional.one_hot(y, 3)
    exact = 3 * float((slope * output).sum(1).square().mean().sqrt())
    assert measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"), draws=0).fisher_rao == pytest.approx(
        exact
    )


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


def test_pac_bayes_sigma_is_where_the_error_has_risen_by_the_deviation() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=200)
    result = measured(objective, draws=8, deviation=0.2)
    assert result.error is not None
    assert result.pac_bayes_sigma is not None
    assert result.pac_bayes_magnitude_sigma is not None
    analysis = Measures(draws=8, deviation=0.2)
    for scaled, sigma in (("plain", result.pac_bayes_sigma), ("magnitude", result.pac_bayes_magnitude_sigma)):
        below, above = (noisy_error(analysis, objective, scaled, sigma * factor) for factor in (0.97, 1.03))
        assert below <= result.error + 0.2 <= above + 0.02
        assert below > result.error


def test_the_error_is_the_share_of_wrong_predictions(classification: Data, split: Splitter) -> None:
    x, y = classification
    model = tanh_net()
    wrong = float((model(x).argmax(1) != y).double().mean())
    assert measured(Objective(model, split(x, y), "cross_entropy"), draws=1).error == pytest.approx(wrong)
    yes = (y > 1).float()[:, None]
    one = nn.Linear(5, 1)
    expected = float(((one(x) > 0) != (yes > 0.5)).double().mean())
    assert measured(Objective(one, split(x, yes), "bce"), draws=1).error == pytest.approx(expected)


def test_regression_has_no_pac_bayes_sigma(generator: torch.Generator) -> None:
    x = torch.randn(10, 4, generator=generator)
    result = measured(Objective(nn.Linear(4, 2), [(x, x[:, :2])], "mse"))
    assert result.error is None
    assert result.pac_bayes_sigma is None
    assert result.noise_scale is not None
    assert result.draws is None


def test_one_sample_has_no_noise(generator: torch.Generator) -> None:
    x = torch.randn(1, 4, generator=generator)
    result = measured(Objective(nn.Linear(4, 2), [(x, x[:, :2])], "mse"), draws=0)
    assert result.noise_scale is None
    assert result.noise_trace is None
    assert not result.trouble()


def test_convolutions_tokens_and_batch_norm_are_measured() -> None:
    for name, limit in (("digits-resnet", 20), ("charlm", 3)):
        result = measured(landscape.load(SAMPLES / f"{name}.pt", limit=limit), draws=1, max_products=24)
        numbers = (result.noise_scale, result.fisher_rao, result.relative_flatness, result.pac_bayes_sigma)
        assert all(value is not None and math.isfinite(value) for value in numbers), name


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


def test_a_sigma_that_does_not_exist_is_told() -> None:
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight *= 1e-4
        model.bias.zero_()
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    objective = Objective(model, [(x, model(x).argmax(1))], "cross_entropy")
    result = measured(objective)
    assert result.error == 0
    assert result.pac_bayes_magnitude_sigma is None
    assert result.pac_bayes_sigma is not None
    assert "no pac bayes magnitude sigma" in result.remarks()[0]


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
