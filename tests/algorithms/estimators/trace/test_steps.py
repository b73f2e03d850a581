"""What the steps compute: counted products, captured ranges, exact diagonals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric
from trace_runs import INDEFINITE, OUTLIERS, run_trace

from landscape.algorithms.estimators.trace.estimates import preferred_estimate
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal
from landscape.errors import NumericalError


def test_a_product_that_is_not_finite_is_an_error() -> None:
    matrix = symmetric(OUTLIERS).matrix.clone()
    matrix[0, 0] = torch.inf
    for method in ("auto", "hutchinson"):
        with pytest.raises(NumericalError, match="not finite"):
            run_trace(MatrixOperator(matrix), method)  # type: ignore[arg-type]


def test_a_sketch_that_holds_nan_does_not_read_as_a_captured_range() -> None:
    goal = TraceGoal("xtrace", 1e-9, 10_000, 80)
    running = estimate_trace(symmetric(OUTLIERS), (), goal, seed=0)
    next(running).basis.fill_(torch.nan)
    with pytest.raises(NumericalError, match="not finite"):
        last(running)


def test_products_are_counted_as_they_are_made() -> None:
    for method in ("auto", "hutchinson", "hutch++", "xtrace"):
        operator = symmetric(OUTLIERS)
        state, _ = run_trace(operator, method, rtol=0.1)  # type: ignore[arg-type]
        assert state.products == operator.columns


def test_a_matrix_of_low_rank_is_captured_and_its_trace_exact() -> None:
    operator = symmetric(np.concatenate([[5.0, -3.0, 2.0], np.zeros(197)]))
    state, goal = run_trace(operator)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert (chosen.estimator, chosen.error) == ("exact", 0.0)
    assert chosen.value == pytest.approx(4, rel=1e-9)
    assert state.products <= 16


def test_where_estimates_would_take_more_products_the_diagonal_itself_is_summed() -> None:
    operator = symmetric(INDEFINITE)
    state, goal = run_trace(operator, rtol=1e-4)
    chosen = preferred_estimate(state, goal)
    assert chosen is not None
    assert chosen.estimator == "exact"
    assert chosen.value == pytest.approx(INDEFINITE.sum(), rel=1e-12)
    assert state.products <= 200 + 48
