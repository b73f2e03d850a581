"""The trace's estimators against the definition written out, and their intervals against repetition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric

from landscape.algorithms.estimators.trace import (
    MIN_VALUES,
    TraceGoal,
    TraceMethod,
    TraceState,
    block_traces,
    estimate_trace,
    goal_reached,
    preferred_estimate,
    restore_trace,
    trace_estimates,
    trace_finished,
    trace_probe,
    xtrace_values,
)
from landscape.algorithms.snapshots import snapshot
from landscape.errors import NumericalError
from landscape.network.space import ParameterBlock, ParameterGroup, ParameterSpace

OUTLIERS = np.concatenate([[30.0, 20.0, 10.0, -4.0], np.linspace(0, 0.4, 196)])
DECAYING = 1 / np.arange(1, 201.0)
INDEFINITE = np.linspace(-1, 2, 200)


def run(
    operator: MatrixOperator,
    method: TraceMethod = "auto",
    rtol: float = 0.02,
    seed: int = 0,
    groups: tuple[ParameterGroup, ...] = (),
    most: int = 10_000,
    capacity: int = 80,
) -> tuple[TraceState, TraceGoal]:
    goal = TraceGoal(method, rtol, most, capacity, 16 if groups else 0)
    return last(estimate_trace(operator, groups, goal, seed=seed)), goal


def test_xtrace_is_its_definition_written_out() -> None:
    """Each value with a QR decomposition of its own, on the images of the other probes."""
    operator = symmetric(INDEFINITE)
    state, _ = run(operator, "xtrace", rtol=1e-9, most=48)
    size, count = 200, state.sketched
    assert count == 24
    drawn = torch.stack([trace_probe(size, operator.like, 0, "sketched", index) for index in range(count)], dim=1)
    images = operator.matrix @ drawn
    for index in range(count):
        others = [column for column in range(count) if column != index]
        q, _ = torch.linalg.qr(images[:, others])
        z = drawn[:, index]
        u = z - q @ (q.T @ z)
        expected = torch.trace(q.T @ operator.matrix @ q) + (size - count + 1) / (u @ u) * (u @ operator.matrix @ u)
        assert xtrace_values(state)[index] == pytest.approx(float(expected), rel=1e-9)


def test_hutchpp_is_its_definition_written_out() -> None:
    operator = symmetric(OUTLIERS)
    state, _ = run(operator, "hutch++", rtol=0.01)
    drawn = torch.stack([trace_probe(200, operator.like, 0, "sketched", i) for i in range(state.sketched)], dim=1)
    q, _ = torch.linalg.qr(operator.matrix @ drawn)
    for index in (0, 9, len(state.values) - 1):
        u = trace_probe(200, operator.like, 0, "other", index)
        u = u - q @ (q.T @ u)
        expected = torch.trace(q.T @ operator.matrix @ q) + (200 - q.shape[1]) / (u @ u) * (u @ operator.matrix @ u)
        assert state.values[index] == pytest.approx(float(expected), rel=1e-9)


def test_hutchinson_is_the_mean_of_quadratic_forms() -> None:
    operator = symmetric(OUTLIERS)
    state, goal = run(operator, "hutchinson", rtol=0.4)
    drawn = [trace_probe(200, operator.like, 0, "other", index) for index in range(len(state.values))]
    each = [float(z @ operator.matrix @ z) for z in drawn]
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.value == pytest.approx(np.mean(each), rel=1e-10)
    assert chosen.error == pytest.approx(np.std(each, ddof=1) / len(each) ** 0.5, rel=1e-9)
    assert state.products == operator.columns == len(each)


def test_probes_are_on_the_sphere() -> None:
    assert float(trace_probe(50, torch.zeros(1, dtype=torch.float64), 1, "x").square().sum()) == pytest.approx(
        50, rel=1e-6
    )


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
@pytest.mark.parametrize("spectrum", [OUTLIERS, DECAYING, INDEFINITE], ids=["outliers", "decaying", "indefinite"])
def test_intervals_cover_in_95_of_100_cases(method: TraceMethod, spectrum: np.ndarray) -> None:
    """200 repeats: 95 % coverage gives 190 +- 3.1, and stopping when it looks good costs a little."""
    operator, hits = symmetric(spectrum), 0
    for seed in range(200):
        state, goal = run(operator, method, rtol=0.1 if method == "hutchinson" else 0.04, seed=seed)
        chosen = preferred_estimate(state, goal)
        assert chosen is not None
        assert goal_reached(state, goal)
        hits += abs(chosen.value - spectrum.sum()) <= chosen.half_width + 1e-9
    assert hits >= 180


def test_products_are_counted_as_they_are_made() -> None:
    for method in ("auto", "hutchinson", "hutch++", "xtrace"):
        operator = symmetric(OUTLIERS)
        state, _ = run(operator, method, rtol=0.1)  # type: ignore[arg-type]
        assert state.products == operator.columns


def test_deflation_pays_where_a_few_eigenvalues_dominate() -> None:
    needed = {method: run(symmetric(OUTLIERS), method, rtol=0.02)[0].products for method in ("hutchinson", "auto")}  # type: ignore[arg-type]
    assert needed["auto"] * 3 < needed["hutchinson"]


def test_a_matrix_of_low_rank_is_captured_and_its_trace_exact() -> None:
    operator = symmetric(np.concatenate([[5.0, -3.0, 2.0], np.zeros(197)]))
    state, goal = run(operator)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert (chosen.estimator, chosen.error) == ("exact", 0.0)
    assert chosen.value == pytest.approx(4, rel=1e-9)
    assert state.products <= 16


def test_where_estimates_would_take_more_products_the_diagonal_itself_is_summed() -> None:
    operator = symmetric(INDEFINITE)
    state, goal = run(operator, rtol=1e-4)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.estimator == "exact"
    assert chosen.value == pytest.approx(INDEFINITE.sum(), rel=1e-12)
    assert state.products <= 200 + 48


def test_a_zero_matrix_has_trace_zero() -> None:
    state, goal = run(MatrixOperator(torch.zeros(30, 30)))
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.value == 0
    assert goal_reached(state, goal)


@pytest.mark.parametrize("size", [1, 2, 7, 9, 17])
@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
def test_tiny_matrices_are_exact(size: int, method: TraceMethod) -> None:
    values = np.linspace(1, 3, size)
    state, goal = run(symmetric(values), method, rtol=1e-6, capacity=16)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    if method != "xtrace" or size < 17:
        assert chosen.value == pytest.approx(values.sum(), rel=1e-9)
        assert goal_reached(state, goal)


def test_the_limit_on_products_ends_it_unreached() -> None:
    state, goal = run(symmetric(INDEFINITE), "hutchinson", rtol=1e-3, most=40)
    assert state.products == 40
    assert trace_finished(state, goal)
    assert not goal_reached(state, goal)


def test_xtrace_ends_where_memory_ends() -> None:
    state, goal = run(symmetric(INDEFINITE), "xtrace", rtol=1e-3, capacity=24, most=150)
    assert state.sketched == 24
    assert not goal_reached(state, goal)


def test_hutchpp_goes_on_with_other_probes_where_memory_ends() -> None:
    without_limit, _ = run(symmetric(DECAYING), "hutch++", rtol=0.01)
    state, goal = run(symmetric(DECAYING), "hutch++", rtol=0.01, capacity=16)
    assert state.sketched == 16 < without_limit.sketched
    assert goal_reached(state, goal)


SPACE = ParameterSpace((ParameterBlock("a.w", (60,)), ParameterBlock("b.w", (100,)), ParameterBlock("a.b", (40,))))


@pytest.mark.parametrize(
    ("method", "spectrum"),
    [("auto", OUTLIERS), ("hutchinson", OUTLIERS), ("hutch++", OUTLIERS), ("hutch++", INDEFINITE), ("auto", DECAYING)],
    ids=["auto", "hutchinson", "hutch++", "hutch++-far-from-invariant", "auto-decaying"],
)
def test_blocks_add_to_the_whole_and_cover(method: TraceMethod, spectrum: np.ndarray) -> None:
    operator, groups = symmetric(spectrum), SPACE.layers()
    diagonal = operator.matrix.diagonal().numpy()
    exact = np.array([diagonal[:60].sum() + diagonal[160:].sum(), diagonal[60:160].sum()])
    scores = []
    for seed in range(40):
        rtol = 0.2 if method == "hutchinson" else 0.06 if spectrum is INDEFINITE else 0.03
        state, goal = run(operator, method, rtol=rtol, seed=seed, groups=groups, capacity=16)
        values, errors = block_traces(state, groups)
        whole = preferred_estimate(state, goal)
        assert whole is not None
        assert values.sum() == pytest.approx(whole.value, abs=3 * whole.error + 1e-9)
        scores.append((values - exact) / errors)
    assert np.abs(np.mean(scores, axis=0)).max() < 4 / 40**0.5
    assert 0.6 < np.std(scores) < 1.5


def test_blocks_are_exact_where_the_whole_is() -> None:
    groups = SPACE.layers()
    for values, rtol in ((INDEFINITE, 1e-4), (np.concatenate([[5.0, 2.0], np.zeros(198)]), 0.01)):
        operator = symmetric(values)
        state, _ = run(operator, rtol=rtol, groups=groups)
        found, errors = block_traces(state, groups)
        diagonal = operator.matrix.diagonal().numpy()
        assert np.allclose(found, [diagonal[:60].sum() + diagonal[160:].sum(), diagonal[60:160].sum()], atol=1e-9)
        assert not errors.any()


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
def test_resuming_anywhere_gives_the_same_state(method: TraceMethod) -> None:
    operator, groups = symmetric(OUTLIERS, dtype=torch.float32), SPACE.layers()
    goal = TraceGoal(method, 0.02, 400, 80, 16)
    saved = [{n: v.copy() for n, v in snapshot(s).items()} for s in estimate_trace(operator, groups, goal)]
    for earlier in saved[:-1:3]:
        resumed = restore_trace(earlier, operator.like, 0)
        state = last(estimate_trace(operator, groups, goal, resume=resumed))
        assert all(np.array_equal(value, saved[-1][name]) for name, value in snapshot(state).items())


def test_readings_have_enough_values_only_from_the_least_numbers_on() -> None:
    for state in estimate_trace(symmetric(INDEFINITE), (), TraceGoal("xtrace", 1e-9, 64, 80)):
        for reading in trace_estimates(state):
            count = {"hutchinson": state.sketched, "xtrace": state.sketched}[reading.estimator]
            assert reading.enough == (count >= MIN_VALUES[reading.estimator])


def test_a_product_that_is_not_finite_is_an_error() -> None:
    matrix = symmetric(OUTLIERS).matrix.clone()
    matrix[0, 0] = torch.inf
    for method in ("auto", "hutchinson"):
        with pytest.raises(NumericalError, match="not finite"):
            run(MatrixOperator(matrix), method)  # type: ignore[arg-type]
