"""Whole runs: their intervals against repetition, and how they end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, symmetric
from trace_runs import DECAYING, INDEFINITE, OUTLIERS, run_trace

from landscape.algorithms.estimators.trace.estimates import goal_reached, preferred_estimate
from landscape.algorithms.estimators.trace.run import trace_finished
from landscape.algorithms.estimators.trace.state import TraceMethod


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
@pytest.mark.parametrize("spectrum", [OUTLIERS, DECAYING, INDEFINITE], ids=["outliers", "decaying", "indefinite"])
def test_intervals_cover_in_95_of_100_cases(method: TraceMethod, spectrum: np.ndarray) -> None:
    """400 repeats that stop by themselves: 95 % coverage gives 380 +- 4.4."""
    operator, hits = symmetric(spectrum), 0
    for seed in range(400):
        state, goal = run_trace(operator, method, rtol=0.1 if method == "hutchinson" else 0.04, seed=seed)
        chosen = preferred_estimate(state, goal)
        assert chosen is not None
        assert goal_reached(state, goal)
        hits += abs(chosen.value - spectrum.sum()) <= chosen.half_width + 1e-9
    assert hits >= 380 - 2 * 4.4


def test_deflation_pays_where_a_few_eigenvalues_dominate() -> None:
    needed = {
        method: run_trace(symmetric(OUTLIERS), method, rtol=0.02)[0].products for method in ("hutchinson", "auto")
    }  # type: ignore[arg-type]
    assert needed["auto"] * 3 < needed["hutchinson"]


def test_a_zero_matrix_has_trace_zero() -> None:
    state, goal = run_trace(MatrixOperator(torch.zeros(30, 30)))
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.value == 0
    assert goal_reached(state, goal)


@pytest.mark.parametrize("size", [1, 2, 7, 9, 17])
@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
def test_tiny_matrices_are_exact(size: int, method: TraceMethod) -> None:
    values = np.linspace(1, 3, size)
    state, goal = run_trace(symmetric(values), method, rtol=1e-6, capacity=16)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    if method != "xtrace" or size < 17:
        assert chosen.value == pytest.approx(values.sum(), rel=1e-9)
        assert goal_reached(state, goal)


def test_the_limit_on_products_ends_it_unreached() -> None:
    state, goal = run_trace(symmetric(INDEFINITE), "hutchinson", rtol=1e-3, most=40)
    assert state.products == 40
    assert trace_finished(state, goal)
    assert not goal_reached(state, goal)


def test_xtrace_ends_where_memory_ends() -> None:
    state, goal = run_trace(symmetric(INDEFINITE), "xtrace", rtol=1e-3, capacity=24, most=150)
    assert state.sketched == 24
    assert not goal_reached(state, goal)


def test_hutchpp_goes_on_with_other_probes_where_memory_ends() -> None:
    without_limit, _ = run_trace(symmetric(DECAYING), "hutch++", rtol=0.01)
    state, goal = run_trace(symmetric(DECAYING), "hutch++", rtol=0.01, capacity=16)
    assert state.sketched == 16 < without_limit.sketched
    assert goal_reached(state, goal)
