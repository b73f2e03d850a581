"""The numbers of a critical step from given points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.algorithms.crossing.search import CrossingSearch
from landscape.analyses.critical.points import EvaluatedPoints
from landscape.analyses.critical.summary import summarize_crossing

SLOPES, CURVATURES = np.array([-3.0, -1.0, -2.5, -1.5]), np.array([2.5, 1.5, 2.0, 2.0])


def evaluated(*steps: float) -> tuple[CrossingSearch, EvaluatedPoints]:
    """Four samples with the losses 1 + a x + b x^2, whose mean crosses at 1, in the order of evaluation."""
    base = np.column_stack([np.ones(4), np.ones(4)])
    points = EvaluatedPoints(base, base + np.array([1e-6, 0.0]))
    search = CrossingSearch(1.0, 0.1)
    for step in steps:
        sums = 1 + SLOPES * step + CURVATURES * step**2
        points = points.with_point(step, np.column_stack([sums, np.ones(4)]))
        search = search.with_point(step, points.changes[-1])
    return search, points


def test_the_numbers_of_a_parabola() -> None:
    found = summarize_crossing(*evaluated(1.02, 0.5, 0.98), 0.8, 4.0)
    assert found["critical_step"] == pytest.approx(1)
    assert found["critical_sharpness"] == pytest.approx(2)
    assert found["bracket"].tolist() == [0.98, 1.02]
    assert found["relative_step"] == pytest.approx(0.25)
    assert found["largest_drop"] == pytest.approx(0.5)
    assert found["rounding"] == pytest.approx(1e-5)
    assert found["passes"] == 5
    assert (found["learning_rate"], found["edge"]) == (0.8, 2.5)
    assert found["edge_ratio"] == pytest.approx(0.8)


def test_points_are_in_ascending_order_with_their_errors() -> None:
    found = summarize_crossing(*evaluated(1.02, 0.5, 0.98), None, 4.0)
    assert found["point_step"].tolist() == [0.5, 0.98, 1.02]
    assert found["point_change"] == pytest.approx([2 * x * (x - 1) for x in (0.5, 0.98, 1.02)])
    spread = (SLOPES * 0.5 + CURVATURES * 0.25).std(ddof=1) / 2
    assert found["point_change_error"][0] == pytest.approx(spread)
    assert "edge" not in found


def test_the_error_of_the_sharpness_follows_from_that_of_the_step() -> None:
    found = summarize_crossing(*evaluated(0.5, 0.98, 1.02, 1.6), None, 4.0)
    low, high = found["interval"]
    assert found["critical_step_se"] == pytest.approx((high - low) / 3.92)
    assert found["critical_sharpness_se"] == pytest.approx(2 * found["critical_step_se"])


def test_without_a_crossing_there_is_no_number() -> None:
    found = summarize_crossing(*evaluated(0.2, 0.5), 0.8, 4.0)
    assert math.isnan(found["critical_step"])
    assert math.isnan(found["critical_sharpness"])
    assert np.isnan(found["interval"]).all()
    assert found["bracket"].tolist() == [0.5, math.inf]
    assert "critical_step_se" not in found
