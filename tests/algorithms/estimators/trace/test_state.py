"""The state: its probes, and that a restored one goes on as if it had never been stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import last, symmetric
from trace_runs import OUTLIERS, SPACE

from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod, restore_trace, trace_probe
from landscape.algorithms.snapshots import snapshot


def test_probes_are_on_the_sphere() -> None:
    assert float(trace_probe(50, torch.zeros(1, dtype=torch.float64), 1, "x").square().sum()) == pytest.approx(
        50, rel=1e-6
    )


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++", "xtrace"])
def test_resuming_anywhere_gives_the_same_state(method: TraceMethod) -> None:
    operator, groups = symmetric(OUTLIERS, dtype=torch.float32), SPACE.layers()
    goal = TraceGoal(method, 0.02, 400, 80, 16)
    saved = [{n: v.copy() for n, v in snapshot(s).items()} for s in estimate_trace(operator, groups, goal)]
    for earlier in saved[:-1:3]:
        resumed = restore_trace(earlier, operator.like, 0)
        state = last(estimate_trace(operator, groups, goal, resume=resumed))
        assert all(np.array_equal(value, saved[-1][name]) for name, value in snapshot(state).items())
