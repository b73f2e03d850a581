"""The local learning coefficient of models whose coefficient is known, and the contract of analyses."""

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
from landscape.analyses.llc.llc import Llc, LlcResult
from landscape.analyses.llc.posterior import BatchPosterior, LocalPosterior, Temper, default_gamma, find_starts
from landscape.errors import TaskError, UsageError

sys.path.append(str(ROOT / "benchmarks"))
import llc_cases

QUICK: dict[str, Any] = {"draws": 60, "rtol": 0.5}
CASES: dict[str, Callable[[], llc_cases.Case]] = {
    "regression": lambda: llc_cases.linear_regression(5, 50.0, 10.0),
    "w4": lambda: llc_cases.powers((2,), 20.0, 1.0),
    "w2+w6": lambda: llc_cases.powers((1, 3), 30.0, 2.0),
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


@pytest.mark.parametrize("name", CASES)
def test_the_interval_holds_the_exact_value_of_the_localized_posterior(name: str) -> None:
    case = CASES[name]()
    result = landscape.run(Llc(nbeta=case.nbeta, gamma=case.gamma, draws=160), case.objective)
    assert abs(result.llc - case.exact) < 3.5 * result.llc_se
    assert result.llc_se < 0.05 * case.exact
    assert max(result.r_hat, result.distance_r_hat) < 1.1


@pytest.mark.parametrize(("inputs", "outputs", "hidden"), [(3, 2, 1), (3, 3, 2), (4, 4, 2)], ids=["1", "2", "3"])
def test_quadrature_tends_to_the_formula_of_reduced_rank_regression(inputs: int, outputs: int, hidden: int) -> None:
    limit = llc_cases.aoyagi_watanabe(inputs, outputs, hidden, 0)
    assert llc_cases.low_rank_posterior(inputs, outputs, hidden, 1e10, 1.0) == pytest.approx(limit, rel=2e-3)


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


def test_batches_have_the_gradient_of_all_data_on_average(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole, temper = objective.space.whole_group(), Temper(10.0, 1.0)
    exact = LocalPosterior(objective, temper, whole, float(objective.value()))
    parts = BatchPosterior(objective, temper, whole, exact.base, samples=8, seed=0)
    moves = 0.1 * torch.ones(whole.size, 1, dtype=torch.float64)
    found = [parts(moves, step) for step in range(3)]  # an epoch
    assert np.mean([one.value[0] for one in found]) == pytest.approx(exact(moves, 0).value[0])
    assert torch.allclose(sum(one.gradient for one in found) / 3, exact(moves, 0).gradient)  # type: ignore[arg-type]


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


def test_starts_are_the_checkpoint_and_points_of_higher_loss_in_turn() -> None:
    case = llc_cases.powers((2, 2), 1e6, 1.0)
    objective = case.objective
    posterior = LocalPosterior(objective, Temper(1e6, 1.0), objective.space.whole_group(), 0.0)
    starts = find_starts(posterior, 4, 0)
    excess = posterior.excess(starts.positions).numpy()
    assert (excess[::2] == 0).all()
    assert ((excess[1::2] > 0) & (excess[1::2] <= 1)).all()  # half of the dimension
    assert starts.losses > 2


def result_of(**changes: Any) -> LlcResult:
    one = np.ones(2)
    fields: dict[str, Any] = {
        "llc": 5.0, "llc_se": 0.1, "lower": 4.8, "upper": 5.2, "rtol": 0.05, "r_hat": 1.01, "distance_r_hat": 1.02,
        "effective_draws": 200.0, "burn_in": 0, "draws": 100, "acceptance": 0.8, "step_size": 0.1, "leaps": 4,
        "nbeta": 100.0, "gamma": 1.0, "gamma_effect": 0.1, "gamma_effect_se": 0.01, "work_deviation": 0.5,
        "broken_proposals": 0, "lower_loss_share": 0.0, "loss": 0.1, "gradient_norm": 0.0, "parameters": 20,
        "samples": 50, "chain": np.array(["checkpoint", "random"]), "chain_llc": one, "chain_distance": one,
        "chain_acceptance": one, "excess": np.ones((2, 9)), "running_draws": one, "running_llc": one, "running_se": one,
    }  # fmt: skip
    return LlcResult(**{**fields, **changes})


def test_chains_that_agree_are_conclusive() -> None:
    assert result_of().trouble() is None
    assert result_of().remarks() == ["95 % interval 4.8 to 5.2, R-hat 1.010, 200 effective draws of 200"]


LAYERS = {"layer": np.array(["a", "b"]), "layer_r_hat": np.array([1.0, np.nan])}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"llc": float("nan")}, "the losses of the chains are not finite"),
        ({"r_hat": 1.2}, "do not agree after 100 draws: R-hat of their losses is 1.2"),
        ({"r_hat": float("nan")}, "R-hat of their losses is nan"),
        ({"distance_r_hat": 1.06}, "R-hat of their distances from the checkpoint is 1.06"),
        ({"llc": -1.0}, "the coefficient is negative, -1 +- 0.1"),
        ({"work_deviation": -3.5}, "x'grad U is -3.5 standard errors off its mean"),
        ({"step_bias": 1.5}, "bias the coefficient 5 by 1.5"),
        ({"llc_se": 0.3}, "standard error 0.3 of 5 after 100 draws, 0.05 of it was asked for"),
        (LAYERS, "the chains of b do not agree"),
    ],
    ids=["nan", "losses", "stuck", "distances", "negative", "equilibrium", "bias", "error", "layer"],
)
def test_each_trouble_names_its_reason(changes: Any, why: str) -> None:
    assert why in str(result_of(**changes).trouble())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gamma_effect": 1.0}, "half of it would add about 0.693"),
        ({"lower_loss_share": 0.25}, "25 % of the draws have a lower loss"),
        ({"broken_proposals": 3}, "not finite at 3 proposals"),
    ],
    ids=["gamma", "lower", "broken"],
)
def test_remarks_name_what_weakens_the_number(changes: Any, words: str) -> None:
    assert any(words in remark for remark in result_of(**changes).remarks())


def test_options_that_mean_nothing_are_refused(classification: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match="gamma is 0"):
        Llc(gamma=0.0)
    with pytest.raises(UsageError, match="two ways"):
        Llc(per_layer=True, blocks=("a",))
    with pytest.raises(UsageError, match="all weights are zero"):
        default_gamma(torch.zeros(3))
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="--batch 25 of 24 samples"):
        landscape.run(Llc(batch=25), objective)


def test_batches_of_data_that_are_not_in_memory_are_refused() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter([(torch.ones(4, 5), torch.zeros(4, dtype=torch.long))] * 2)

    objective = Objective(tanh_net(), Stream(), "cross_entropy")
    parts = replace(objective.batches, whole=None)
    with pytest.raises(TaskError, match="draws samples from data in memory"):
        landscape.run(Llc(batch=2), objective.variant(batches=parts))
