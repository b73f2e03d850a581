"""Runs of the estimators on designed spectra, for the tests of this package."""

from __future__ import annotations

import numpy as np
from oracles.dense import MatrixOperator, last

from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod, TraceState
from landscape.network.space import ParameterBlock, ParameterGroup, ParameterSpace

OUTLIERS = np.concatenate([[30.0, 20.0, 10.0, -4.0], np.linspace(0, 0.4, 196)])
DECAYING = 1 / np.arange(1, 201.0)
INDEFINITE = np.linspace(-1, 2, 200)
SPACE = ParameterSpace((ParameterBlock("a.w", (60,)), ParameterBlock("b.w", (100,)), ParameterBlock("a.b", (40,))))


def run_trace(
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
