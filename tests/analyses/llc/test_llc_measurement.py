"""The local learning coefficient of models whose coefficient is known, its cost, and the contract of analyses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import ROOT, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.analyses.llc import history
from landscape.analyses.llc.llc import Llc
from landscape.evaluation import points

sys.path.append(str(ROOT / "benchmarks"))
import llc_cases

QUICK: dict[str, Any] = {"draws": 60, "rtol": 0.5}


CASES: dict[str, Callable[[], llc_cases.Case]] = {
    "regression": lambda: llc_cases.linear_regression(5, 50.0, 10.0),
    "w4": lambda: llc_cases.powers((2,), 20.0, 1.0),
    "w2+w6": lambda: llc_cases.powers((1, 3), 30.0, 2.0),
    "rank 1": lambda: llc_cases.reduced_rank(4, 3, 2, 1, 30.0, 2.0),
    "reduced-rank": lambda: llc_cases.reduced_rank(3, 3, 2, 0, 30.0, 2.0),
}


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ADAPTATION_STEPS", 40)


class TestLlc(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Llc:
        return Llc(draws=32, rtol=10.0, gamma=20.0, blocks=("2.*",))

    @pytest.fixture
    def objective(self, classification: tuple[Tensor, Tensor]) -> Objective:
        net, (x, y) = tanh_net(), classification
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=30)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return Objective(net, list(zip(x.split(10), y.split(10), strict=True)), "cross_entropy")


PLAIN_MEAN = {"w2+w6"}  # where the control variate leaves more than a hundredth of the variance


@pytest.mark.parametrize("name", [name for name in CASES if name != "rank 1"])  # its exact value is not known
def test_the_interval_holds_the_exact_value_of_the_localized_posterior(name: str) -> None:
    case = CASES[name]()
    result = landscape.run(Llc(nbeta=case.nbeta, gamma=case.gamma, draws=160), case.objective)
    if result.trouble() is None:  # chains that are not in equilibrium say so, and their error is not theirs
        assert abs(result.llc - case.exact) < 3.5 * result.llc_se
    assert abs(result.llc - case.exact) < 0.1 * case.exact
    assert result.llc_se < (0.12 if name in PLAIN_MEAN else 0.05) * case.exact
    assert max(result.r_hat, result.distance_r_hat) < 1.1


@pytest.mark.parametrize(("inputs", "outputs", "hidden"), [(3, 2, 1), (3, 3, 2), (4, 4, 2)], ids=["1", "2", "3"])
def test_quadrature_tends_to_the_formula_of_reduced_rank_regression(inputs: int, outputs: int, hidden: int) -> None:
    limit = llc_cases.aoyagi_watanabe(inputs, outputs, hidden, 0)
    assert llc_cases.low_rank_posterior(inputs, outputs, hidden, 1e10, 1.0) == pytest.approx(limit, rel=2e-3)


@pytest.mark.parametrize("name", CASES)
def test_closed_forms_of_the_benchmark_are_the_losses_of_its_models(name: str) -> None:
    case = CASES[name]()
    moves = torch.randn(case.objective.space.size, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, gradients = points.values_and_gradients(case.objective, case.objective.theta[:, None] + moves)
    rises, slopes = case.rise(moves)
    torch.testing.assert_close(rises, values - float(case.objective.value()))
    torch.testing.assert_close(slopes, gradients - case.objective.gradient()[:, None], rtol=1e-6, atol=1e-9)


def test_a_regular_model_with_a_weak_gaussian_has_half_of_its_dimension() -> None:
    case = llc_cases.linear_regression(4, 20.0, 0.2)
    result = landscape.run(Llc(nbeta=case.nbeta, gamma=case.gamma, **QUICK), case.objective)
    assert result.llc == pytest.approx(2, abs=0.02)
    assert result.llc_se < 1e-3  # the control variate leaves nothing random
    assert result.llc + result.gamma_effect == pytest.approx(2, abs=4 * result.gamma_effect_se + 1e-3)


def test_batches_give_the_exact_value_within_the_error_and_the_bias_of_their_steps() -> None:
    case = llc_cases.linear_regression(5, 50.0, 10.0)
    result = landscape.run(Llc(nbeta=50.0, gamma=10.0, batch=100, draws=800, rtol=0.03), case.objective)
    assert result.step_bias is not None
    assert 0 < result.step_bias < 0.2 * case.exact
    assert abs(result.llc - case.exact) < 3.5 * result.llc_se + result.step_bias
    assert result.leaps == 1
    assert any("a bias of" in remark for remark in result.remarks())


def test_a_layer_alone_has_half_of_its_dimension() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False)), torch.randn(30, 2, dtype=torch.float64)
    objective = Objective(model, (data, model.double()(data).detach()), "mse", dtype="float64")
    result = landscape.run(Llc(nbeta=20.0, gamma=2.0, per_layer=True, draws=50, rtol=0.9), objective)
    last = list(result.layer).index("1")
    features = model[0](data).detach()
    curvature = 20 * torch.linalg.eigvalsh(2 * features.T @ features / 30).detach().numpy()
    exact = (curvature / (curvature + 2.0)).sum() / 2
    assert result.layer_llc[last] == pytest.approx(exact, abs=4 * result.layer_llc_se[last] + 1e-3)


def test_a_permuted_copy_has_the_same_coefficient(classification: tuple[Tensor, Tensor]) -> None:
    net = tanh_net()
    copy = tanh_net()
    order = [2, 0, 3, 1]
    with torch.no_grad():
        copy[0].weight.copy_(net[0].weight[order])
        copy[0].bias.copy_(net[0].bias[order])
        copy[2].weight.copy_(net[2].weight[:, order])
    options: dict[str, Any] = {"gamma": 100.0, "draws": 60, "rtol": 1.0}
    first, second = (
        landscape.run(Llc(seed=seed, **options), Objective(one, [classification], "cross_entropy"))
        for seed, one in enumerate((net, copy))
    )
    assert abs(first.llc - second.llc) < 4 * np.hypot(first.llc_se, second.llc_se)


def test_a_checkpoint_that_is_no_minimum_is_said_to_be_none(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = landscape.run(Llc(gamma=20.0, nbeta=2000.0, draws=32, rtol=0.5), objective)
    assert result.llc < 0
    assert result.lower_loss_share == 1
    assert "no minimum" in str(replace(result, r_hat=1.0, distance_r_hat=1.0).inconclusive())


def test_the_table_of_chains_is_that_of_their_draws_behind_the_burn_in() -> None:
    case = llc_cases.linear_regression(4, 20.0, 0.2)
    result = landscape.run(Llc(nbeta=20.0, gamma=0.2, chains=4, draws=40, rtol=10.0), case.objective)
    assert result.chain.tolist() == ["checkpoint", "random"] * 2
    assert result.excess.shape == (4, result.draws)
    np.testing.assert_allclose(result.chain_llc, result.excess[:, result.burn_in :].mean(axis=1), rtol=1e-6)
    assert result.lower == pytest.approx(result.llc - 1.96 * result.llc_se, rel=1e-4)
    assert result.upper == pytest.approx(result.llc + 1.96 * result.llc_se, rel=1e-4)


def test_batches_cost_their_share_of_the_data_twice() -> None:
    """A draw of all data takes gradients of all data; one of a batch two of its own, at the chain and at the start."""
    case = llc_cases.linear_regression(4, 20.0, 0.2)
    options: dict[str, Any] = {"nbeta": 20.0, "gamma": 0.2, "chains": 2}
    few, many = (landscape.run(Llc(batch=20, draws=draws, **options), case.objective) for draws in (40, 80))
    passes = 20 / 3  # losses of the samples at every second draw
    assert many.cost_gradients - few.cost_gradients == pytest.approx(40 * 2 * 2 * 20 / 200 + passes)


def test_a_plan_names_the_memory_of_all_chains() -> None:
    objective = llc_cases.linear_regression(4, 20.0, 0.2).objective
    few, many = (Llc(chains=chains, draws=50).plan(objective) for chains in (2, 8))
    assert many.bytes == 4 * few.bytes == 4 * 7 * 2 * 4 * 8  # seven vectors of four float64 numbers for each chain
    assert few.facts["draws"] == "50 of each of 2 chains expected, at most 50"
