"""The trace against dense and closed forms, its intervals, and the data's part of the error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, Splitter, tanh_net
from oracles.dense import dense_hessian
from oracles.samples import digits_mlp_hessian
from torch import Tensor, nn

import landscape
from landscape import Objective, Trace
from landscape.analyses.shared.products import build_operator, group_quadratics
from landscape.analyses.trace import TraceResult
from landscape.compute.strategy import ProductSettings
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestTrace(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Trace:
        return Trace(rtol=0.3, method="hutchinson")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestTraceByLayer(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Trace:
        return Trace(rtol=0.2, per_layer=True, resample=4)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def test_a_small_model_is_summed_exactly(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    result = landscape.run(Trace(rtol=1e-3), objective)
    exact = float(dense_hessian(tanh_net(), [classification]).trace())
    assert result.trace == pytest.approx(exact, rel=1e-12)
    assert result.standard_error == 0
    assert result.interval.tolist() == [result.trace, result.trace]
    assert result.estimator[0] == "exact"


@pytest.mark.slow
class TestDenseOracleOnDigits:
    @pytest.mark.parametrize("method", ["auto", "hutch++", "xtrace"])
    def test_the_interval_is_as_narrow_as_asked_and_covers(self, method: Any) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        exact = float(np.trace(digits_mlp_hessian()))
        hits = 0
        for seed in range(10):
            result = landscape.run(Trace(method=method, seed=seed, rtol=0.02), objective)
            assert not result.trouble()
            assert np.ptp(result.interval) / 2 <= 0.02 * result.trace
            assert result.products < 200
            hits += result.interval[0] <= exact <= result.interval[1]
        assert hits >= 8  # of 10 at 95 %: fewer happens in 1 % of all cases

    def test_layers_add_to_the_trace(self) -> None:
        result = landscape.run(Trace(per_layer=True), landscape.load(SAMPLES / "digits-mlp.pt"))
        diagonal = np.diag(digits_mlp_hessian())
        exact = {"0": diagonal[:2080].sum(), "2": diagonal[2080:2740].sum(), "4": diagonal[2740:].sum()}
        for place, name in enumerate(result.layer):
            assert abs(result.layer_trace[place] - exact[name]) < 4.5 * result.layer_standard_error[place]
        assert result.layer_trace.sum() == pytest.approx(result.trace, rel=0.01)
        assert result.layer_share.sum() == pytest.approx(1)
        assert list(result.layer) == ["0", "2", "4"]


def test_the_hessian_and_gauss_newton_traces_of_a_relu_net_agree() -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt", params=("0.bias", "2.bias", "4.*"), dtype="float64")
    hessian, ggn = (landscape.run(Trace(operator=kind, rtol=0.005), objective) for kind in ("hessian", "ggn"))
    assert abs(hessian.trace - ggn.trace) < 3 * np.hypot(hessian.standard_error, ggn.standard_error)


def test_a_trace_that_was_not_reached_is_inconclusive() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    result = landscape.run(Trace(method="hutchinson", max_products=16), objective)
    assert "0.01 was asked for" in str(result.trouble())
    assert "--max-products" in result.trouble().fix


def test_a_trace_of_zero_is_summed_or_inconclusive() -> None:
    """x'(diag(1, -1)) x: an indefinite form whose trace is zero."""

    def saddle(output: Tensor, target: Tensor) -> Tensor:
        return (output**2 * target).mean(dim=1)

    size = 40
    signs = torch.tensor([[1.0], [-1.0]]).repeat(size // 2, 1)
    objective = Objective(nn.Linear(size, 1, bias=False), [(torch.eye(size), signs)], saddle)
    result = landscape.run(Trace(), objective)
    assert result.trace == 0
    cut = landscape.run(Trace(max_products=30, method="hutchinson"), objective)
    assert cut.trouble()


def regression(generator: torch.Generator) -> Objective:
    x = torch.randn(300, 12, generator=generator)
    return Objective(nn.Linear(12, 1, bias=False), [(x, torch.zeros(300, 1))], "mse")


def test_the_data_s_error_is_what_other_samples_show() -> None:
    """tr H = 2 mean |x|^2, with |x|^2 of variance 2 * 12: the standard error is 2 sqrt(24 / 300)."""
    generator = torch.Generator().manual_seed(0)
    results: list[TraceResult] = [
        landscape.run(Trace(resample=20, rtol=0.05, seed=seed), regression(generator)) for seed in range(40)
    ]
    squares = [np.nan_to_num(r.data_standard_error) ** 2 for r in results]
    stated = np.sqrt(np.mean(squares))
    assert stated == pytest.approx(2 * (24 / 300) ** 0.5, rel=0.15)
    assert np.std([r.trace for r in results]) == pytest.approx(stated, rel=0.35)


def test_a_remark_names_the_larger_error() -> None:
    objective = regression(torch.Generator().manual_seed(0))
    exact = landscape.run(Trace(resample=20, rtol=1e-3), objective)
    assert "more samples, not more products" in exact.remarks()[1]
    rough = landscape.run(Trace(resample=20, rtol=0.9, method="hutchinson"), objective)
    if rough.standard_error > rough.data_standard_error:
        assert "more products, not more samples" in rough.remarks()[1]


def test_the_order_of_batches_does_not_change_the_data_s_error(classification: Data) -> None:
    x, y = classification
    errors = []
    for sizes in ([24], [10, 10, 4], [1] * 24):
        batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
        objective = Objective(tanh_net(), batches, "cross_entropy", dtype="float64")
        errors.append(landscape.run(Trace(resample=5, rtol=0.2), objective).data_standard_error)
    assert np.allclose(errors, errors[0], rtol=1e-9)


def test_too_little_memory_for_a_sketch(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 64 * objective.theta.nbytes)
    assert landscape.run(Trace(rtol=0.3), objective).estimator[0] in ("hutchinson", "exact")
    with pytest.raises(UsageError, match="--method hutchinson"):
        landscape.run(Trace(method="xtrace"), objective)


def test_the_plan_has_products_and_memory(classification: Data) -> None:
    plan = Trace().plan(Objective(tanh_net(), [classification], "cross_entropy"))
    assert plan.products == 39
    assert plan.seconds > 0
    assert plan.bytes > 0


def test_the_data_s_error_counts_tokens_and_not_sequences(generator: torch.Generator) -> None:
    """Padding makes sequences of unequal weight: the groups' counts are those of the loss."""
    x = torch.randn(12, 6, 5, generator=generator)
    y = torch.randint(0, 3, (12, 6), generator=generator)
    y[::2, 2:] = -100
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    analysis = Trace(rtol=0.5, resample=12)
    objective = Objective(model, [(x, y)], "cross_entropy", dtype="float64")
    operator = build_operator(analysis, objective)
    identity = torch.eye(18, dtype=torch.float64)
    sums, counts = group_quadratics(analysis, operator, objective, identity)
    assert counts.tolist() == [2, 6] * 6
    for group in range(12):
        alone = Objective(model, [(x[group : group + 1], y[group : group + 1])], "cross_entropy", dtype="float64")
        assert sums[group].sum() / counts[group] == pytest.approx(
            float(build_operator(analysis, alone).to_dense().trace())
        )


def test_blocks_without_a_value_are_inconclusive() -> None:
    """XTrace may be there before any probe outside the sketch has shown a block its trace."""
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    result = landscape.run(Trace(per_layer=True, rtol=0.5, max_products=32), objective)
    assert not np.isnan(result.layer_trace).any() or result.trouble()


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
@pytest.mark.parametrize("limit", [1, 2, 7, 33, 100])
def test_the_limit_on_products_is_kept_and_leaves_an_estimate(method: Any, limit: int) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    result = landscape.run(Trace(method=method, rtol=1e-4, max_products=limit), objective)
    assert result.products <= limit
    assert result.trouble()
    assert np.isfinite(result.trace) or limit < 7


def test_a_tiny_model_takes_one_product_for_each_parameter() -> None:
    x = torch.randn(30, 23, generator=torch.Generator().manual_seed(0))
    result = landscape.run(Trace(), Objective(nn.Linear(23, 1, bias=False), [(x, torch.zeros(30, 1))], "mse"))
    assert result.products == 23
    assert result.trace == pytest.approx(2 * float((x**2).sum()) / 30, rel=1e-5)


class TestDataError:
    @pytest.mark.parametrize("target", ["20%", "10%"])
    def test_the_trace_of_all_data_is_reached_over_draws(self, target: str) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        whole = landscape.run(Trace(rtol=0.01), objective).trace
        share = float(target.removesuffix("%")) / 100
        results = [landscape.run(Trace(data_error=target, seed=seed), objective) for seed in range(4)]
        errors = np.array([result.trace / whole - 1 for result in results])
        assert all(result.samples < 1300 and result.data_samples == 1300 for result in results)
        assert all(result.data_error <= share and result.rtol == share / 2 for result in results)
        assert np.sqrt((errors**2).mean()) <= 1.1 * share
        assert (np.abs(errors) <= 2 * share).all()

    def test_data_that_do_not_suffice_are_named(self, generator: torch.Generator) -> None:
        result = landscape.run(Trace(data_error="0.1%"), regression(generator))
        samples = result.data_samples
        assert str(result.trouble()).endswith(f"with all {samples} samples, 0.1 % was asked for")
        assert result.samples == samples

    def test_two_distinct_samples_do_not_hide_their_error(self) -> None:
        """500 copies of each: whatever the probes, the parts of few samples err by what their error says."""
        generator = torch.Generator().manual_seed(0)
        two = torch.randn(2, 4, generator=generator)
        x, y = two.repeat(500, 1), (two @ torch.randn(4, 3, generator=generator)).argmax(1).repeat(500)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        whole = landscape.run(Trace(rtol=1e-3), Objective(model, (x, y), "cross_entropy", dtype="float64")).trace
        ratios = []
        for seed in range(12):
            objective = Objective(model, (x, y), "cross_entropy", dtype="float64")
            result = landscape.run(Trace(data_error="5%", seed=seed), objective)
            ratios.append(abs(result.trace / whole - 1) / (result.data_error + result.rtol))
        assert max(ratios) <= 3
        assert np.sqrt(np.mean(np.square(ratios))) <= 1

    def test_an_interrupted_run_ends_as_it_would_have(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=300)
        analysis = Trace(data_error="25%")
        states: list[dict[str, Any]] = []

        def finish(resume: dict[str, Any] | None) -> TraceResult:
            """The result of a run, whose snapshots are kept."""
            steps = analysis.measure(objective, resume)
            while True:
                try:
                    states.append({name: np.array(value) for name, value in next(steps).state().items()})
                except StopIteration as end:
                    return end.value

        whole = finish(None)
        for state in (states[1], states[-2]):
            resumed = finish(state)
            assert (resumed.trace, resumed.data_error) == (whole.trace, whole.data_error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_interval_contains_the_error_of_differences(classification: Data, dtype: str) -> None:
    exact = float(torch.trace(dense_hessian(tanh_net(), [classification])))
    objective = Objective(
        tanh_net(), [classification], "cross_entropy", dtype=dtype, settings=ProductSettings("difference")
    )
    result = landscape.run(Trace(rtol=0.1, method="hutchinson", max_products=10**4), objective)
    assert result.product_error is not None
    assert 0 < result.product_error <= {"float32": 1e-2, "float64": 1e-6}[dtype] * abs(exact)
    assert abs(result.trace - exact) <= result.product_error  # P products: the diagonal is summed
    assert result.interval[0] <= exact <= result.interval[1]
    assert any("differences of gradients" in remark for remark in result.remarks())


def test_differences_that_are_too_rough_for_rtol_are_named() -> None:
    values: dict[str, Any] = {"trace": 1.0, "interval": np.array([0.5, 1.5]), "rtol": 0.1, "product_error": 0.5}
    names = np.array(["exact"])
    numbers = np.ones(1)
    result = TraceResult(
        **values,
        standard_error=0.0,
        products=1,
        cost_gradients=2.0,
        estimator=names,
        estimator_trace=numbers,
        estimator_standard_error=numbers,
        estimator_products=numbers,
        estimator_needed=numbers,
        loss=1.0,
        gradient_norm=0.0,
        parameters=1,
        samples=1,
    )
    trouble = result.trouble()
    assert trouble is not None
    assert "uncertain by 0.5, more than --rtol 0.1" in trouble.why
    assert "--dtype float64" in trouble.fix
