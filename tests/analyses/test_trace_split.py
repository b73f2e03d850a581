"""Where the trace is split into an exact part and a rest, what that gives, and what it costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from oracles.dense import dense_hessian
from torch import Tensor, nn

import landscape
from landscape import Objective, Trace
from landscape.analyses import trace_split
from landscape.analyses.trace import TraceResult
from landscape.errors import NumericalError
from landscape.operators.exact_trace import ExactTrace

Data = tuple[Tensor, Tensor]


def fitted_net(activation: type[nn.Module], sizes: tuple[int, ...] = (8, 12, 12, 3)) -> tuple[nn.Sequential, Data]:
    """A net that fits 60 samples of 3 classes, after 150 steps of Adam."""
    torch.manual_seed(0)
    x = torch.randn(60, sizes[0])
    y = (x[:, 0] > 0.3).long() + (x[:, 1] > 0).long()
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside), activation()]
    net = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, (x, y)


def split_run(**options: Any) -> TraceResult:
    net, data = fitted_net(nn.ReLU)
    result: TraceResult = landscape.run(Trace(**options), Objective(net, data, "cross_entropy"))
    return result


class TestSplitTrace(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Trace:
        return Trace(rtol=0.05, per_layer=True)

    @pytest.fixture
    def objective(self) -> Objective:
        net, data = fitted_net(nn.Tanh)
        return Objective(net, data, "cross_entropy")


def test_a_net_that_fits_is_split_and_right() -> None:
    net, data = fitted_net(nn.ReLU)
    result = split_run()
    dense = float(dense_hessian(net, [data]).trace())
    assert result.estimator[0] == "ggn+hutchinson"
    assert result.known_trace is not None
    assert result.interval[0] <= dense <= result.interval[1]
    assert result.draws is not None
    assert result.trace == pytest.approx(result.draws.mean())
    assert abs(result.known_trace - dense) < 0.05 * dense
    alone = split_run(method="hutch++")
    assert alone.known_trace is None
    assert result.cost_gradients < alone.cost_gradients / 2
    assert list(result.estimator) == ["ggn+hutchinson", "hutchinson"]
    assert result.estimator_needed[0] < result.estimator_needed[1]


def test_layers_are_exact_parts_and_rests() -> None:
    net, data = fitted_net(nn.Tanh)
    result: TraceResult = landscape.run(Trace(per_layer=True, rtol=0.05), Objective(net, data, "cross_entropy"))
    assert result.known_trace is not None
    assert result.layer is not None
    diagonal, first = dense_hessian(net, [data]).diagonal(), {}
    for path in ("0", "2", "4"):
        first[path] = float(diagonal[: net[int(path)].weight.numel() + net[int(path)].bias.numel()].sum())
        diagonal = diagonal[net[int(path)].weight.numel() + net[int(path)].bias.numel() :]
    for place, name in enumerate(result.layer):
        assert abs(result.layer_trace[place] - first[name]) < 4.5 * result.layer_standard_error[place]
    assert result.layer_trace.sum() == pytest.approx(result.trace, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "rtol"), [(nn.ReLU, 0.01), (nn.Tanh, 0.05), (nn.GELU, 0.05)])
def test_intervals_of_a_split_cover(activation: type[nn.Module], rtol: float) -> None:
    net, data = fitted_net(activation)
    exact = float(dense_hessian(net, [data]).trace())
    net = net.float()
    hits = splits = 0
    objective = Objective(net, data, "cross_entropy")
    for seed in range(200):
        result: TraceResult = landscape.run(Trace(rtol=rtol, seed=seed), objective)
        splits += result.known_trace is not None
        hits += bool(result.interval[0] <= exact <= result.interval[1])
    assert splits > 150
    assert hits >= 0.93 * 200


def test_a_net_that_fits_nothing_is_not_split(classification: Data) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    x, y = classification
    objective = Objective(net, (3 * x, y), "cross_entropy")
    result: TraceResult = landscape.run(Trace(rtol=0.05), objective)
    assert result.known_trace is None
    assert "ggn+hutchinson" not in result.estimator


def test_without_a_split_products_and_values_are_those_of_the_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    net, data = fitted_net(nn.Tanh)
    monkeypatch.setattr(trace_split, "_pays", lambda *_: False)
    piloted = landscape.run(Trace(rtol=0.05), Objective(net, data, "cross_entropy"))
    monkeypatch.setattr(trace_split, "may_split", lambda *_: False)
    plain = landscape.run(Trace(rtol=0.05), Objective(net, data, "cross_entropy"))
    assert (piloted.trace, piloted.products) == (plain.trace, plain.products)
    assert piloted.cost_gradients > plain.cost_gradients


def test_large_models_take_up_the_values_of_the_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    net, data = fitted_net(nn.Tanh)
    monkeypatch.setattr("landscape.analyses.trace_measurement.is_large", lambda size: True)
    monkeypatch.setattr(trace_split, "_pays", lambda *_: False)
    options = {"rtol": 0.2, "per_layer": True}
    piloted = landscape.run(Trace(**options), Objective(net, data, "cross_entropy"))
    monkeypatch.setattr(trace_split, "may_split", lambda *_: False)
    plain = landscape.run(Trace(**options), Objective(net, data, "cross_entropy"))
    assert piloted.products == plain.products
    assert piloted.trace == pytest.approx(plain.trace, rel=1e-6)
    np.testing.assert_allclose(piloted.layer_standard_error, plain.layer_standard_error, rtol=1e-3)


def test_a_closed_form_that_fails_leaves_the_hessian_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = split_run(method="hutchinson", rtol=0.5)
    assert plain.known_trace is None
    monkeypatch.setattr(trace_split, "exact_trace", lambda objective: ExactTrace({"0.weight": 1.0}))
    result = split_run(rtol=0.1)
    assert result.known_trace is None
    assert result.estimator[0] != "ggn+hutchinson"


@pytest.mark.parametrize(
    "options", [{"operator": "ggn"}, {"method": "xtrace"}, {"method": "hutchinson"}, {"max_products": 15}]
)
def test_other_matrices_and_methods_are_not_split(options: dict[str, Any]) -> None:
    assert split_run(rtol=0.5, **options).known_trace is None


def test_weight_decay_is_in_the_exact_part() -> None:
    net, data = fitted_net(nn.ReLU)
    objective = Objective(net, data, "cross_entropy", weight_decay=0.01)
    result: TraceResult = landscape.run(Trace(), objective)
    dense = float(dense_hessian(net, [data]).trace()) + 0.01 * objective.space.size
    assert result.known_trace is not None
    assert result.interval[0] <= dense <= result.interval[1]


def test_a_large_linear_model_is_all_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """H is G, so that nothing is left for random vectors: no sketch, and no spread."""
    monkeypatch.setattr("landscape.analyses.trace_measurement.is_large", lambda size: True)
    x, y = torch.randn(30, 20, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    net = nn.Linear(20, 2)
    result: TraceResult = landscape.run(Trace(), Objective(net, (x, y), "mse", dtype="float64"))
    assert result.trace == pytest.approx(2 * float((x.square().sum(dim=1) + 1).mean()), rel=1e-9)
    assert result.known_trace == pytest.approx(result.trace, rel=1e-9)


def test_a_product_that_is_not_finite_is_named() -> None:
    def rough(z: Tensor, t: Tensor) -> Tensor:
        return ((z - z.detach()).abs() ** 1.5 + 0 * t).mean()

    net, (x, _) = fitted_net(nn.Tanh)
    with pytest.raises(NumericalError, match="not finite"):
        landscape.run(Trace(), Objective(net, (x, torch.zeros(60, 3)), rough))
