"""The estimates against their definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import symmetric
from scipy.stats import t as student
from trace_runs import DECAYING, INDEFINITE, OUTLIERS, SPACE, run_trace

from landscape.algorithms.estimators.trace.estimates import (
    MIN_VALUES,
    block_traces,
    half_width_factor,
    preferred_estimate,
    trace_estimates,
    xtrace_values,
)
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod, trace_probe


def test_xtrace_is_its_definition_written_out() -> None:
    """Each value with a QR decomposition of its own, on the images of the other probes."""
    operator = symmetric(INDEFINITE)
    state, _ = run_trace(operator, "xtrace", rtol=1e-9, most=48)
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
    state, _ = run_trace(operator, "hutch++", rtol=0.01)
    drawn = torch.stack([trace_probe(200, operator.like, 0, "sketched", i) for i in range(state.sketched)], dim=1)
    q, _ = torch.linalg.qr(operator.matrix @ drawn)
    for index in (0, 9, len(state.values) - 1):
        u = trace_probe(200, operator.like, 0, "other", index)
        u = u - q @ (q.T @ u)
        expected = torch.trace(q.T @ operator.matrix @ q) + (200 - q.shape[1]) / (u @ u) * (u @ operator.matrix @ u)
        assert state.values[index] == pytest.approx(float(expected), rel=1e-9)


def test_hutchinson_is_the_mean_of_quadratic_forms() -> None:
    operator = symmetric(OUTLIERS)
    state, goal = run_trace(operator, "hutchinson", rtol=0.4)
    drawn = [trace_probe(200, operator.like, 0, "other", index) for index in range(len(state.values))]
    each = [float(z @ operator.matrix @ z) for z in drawn]
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.value == pytest.approx(np.mean(each), rel=1e-10)
    assert chosen.error == pytest.approx(np.std(each, ddof=1) / len(each) ** 0.5, rel=1e-9)
    assert state.products == operator.columns == len(each)


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
        state, goal = run_trace(operator, method, rtol=rtol, seed=seed, groups=groups, capacity=16)
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
        state, _ = run_trace(operator, rtol=rtol, groups=groups)
        found, errors = block_traces(state, groups)
        diagonal = operator.matrix.diagonal().numpy()
        assert np.allclose(found, [diagonal[:60].sum() + diagonal[160:].sum(), diagonal[60:160].sum()], atol=1e-9)
        assert not errors.any()


def test_readings_have_enough_values_only_from_the_least_numbers_on() -> None:
    for state in estimate_trace(symmetric(INDEFINITE), (), TraceGoal("xtrace", 1e-9, 64, 80)):
        for reading in trace_estimates(state):
            count = {"hutchinson": state.sketched, "xtrace": state.sketched}[reading.estimator]
            assert reading.enough == (count >= MIN_VALUES[reading.estimator])


@pytest.mark.parametrize(
    ("name", "values", "freedom"), [("hutch++", 5, 4), ("hutch++", 10, 9), ("hutchinson", 500, 9), ("xtrace", 40, 15)]
)
def test_degrees_of_freedom_stay_those_of_the_first_values_that_may_end_a_run(
    name: str, values: int, freedom: int
) -> None:
    assert half_width_factor(name, values) == pytest.approx(student.ppf(0.975, freedom))
