"""The losses of samples at points along an update: means, differences, rounding and snapshots."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analyses.critical.points import EvaluatedPoints


@pytest.fixture
def points() -> EvaluatedPoints:
    """Two samples, of which the second counts three terms, and one step."""
    base = np.array([[1.0, 1.0], [6.0, 3.0]])
    rounded = base + np.array([[0.04, 0.0], [-0.04, 0.0]])
    return EvaluatedPoints(base, rounded).with_point(0.5, base - np.array([[0.2, 0.0], [0.6, 0.0]]))


def test_means_are_sums_over_counts(points: EvaluatedPoints) -> None:
    assert points.loss == 7 / 4
    assert points.changes == pytest.approx((-0.2,))
    assert points.passes == 3
    assert points.by_sample


def test_rounding_that_cancels_by_chance_is_at_least_that_of_independent_samples(points: EvaluatedPoints) -> None:
    assert points.noise == pytest.approx(0.04 * 2**0.5 / 4)


def test_rounding_of_all_samples_in_one_direction_adds_up() -> None:
    base = np.column_stack([np.ones(100), np.ones(100)])
    assert EvaluatedPoints(base, base + np.array([1e-6, 0])).noise == pytest.approx(1e-6)


def test_a_snapshot_gives_the_same_points(points: EvaluatedPoints) -> None:
    again = EvaluatedPoints.restore(points.snapshot())
    assert again.steps == points.steps
    assert again.changes == points.changes
    assert again.noise == points.noise
    assert EvaluatedPoints.restore(EvaluatedPoints(points.base).snapshot()).passes == 1
    assert EvaluatedPoints.restore({}).passes == 0


def test_one_sum_for_all_has_no_samples() -> None:
    assert not EvaluatedPoints(np.array([[5.0, 2.0]])).by_sample
