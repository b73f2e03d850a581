"""Noise floors from simulated measurements of known noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gating import METRIC, entry, seeds

from landscape.errors import UsageError
from landscape.gates import calibration
from landscape.gates.policy import Rule, parse_policy
from landscape.gates.retrained import detectable_increase
from landscape.gates.tolerance import Tolerance

POLICY = parse_policy(metrics={METRIC: "2%"})


def test_the_spread_over_seeds_and_three_errors_of_a_difference_are_told() -> None:
    values = np.random.RandomState(0).normal(10, 0.1, 200)
    (floor,) = calibration.seed_noise(POLICY, [entry(value, error=0.0) for value in values], entry(values[0] + 0.01))
    assert floor.spread == pytest.approx(values.std(ddof=1) / values[0])
    assert floor.other_draws == pytest.approx(3 * math.sqrt(2) * floor.spread)
    assert floor.repeated == pytest.approx(0.01 / values[0], rel=1e-6)
    assert floor.same_draws == pytest.approx(0.03 / values[0], rel=1e-6)


def test_a_measurement_without_noise_is_quiet() -> None:
    (floor,) = calibration.seed_noise(POLICY, [entry(3.0), entry(3.0)], entry(3.0, error=0.0))
    assert floor.tolerance == pytest.approx(0.02)
    assert floor.quiet


def test_noise_above_the_tolerance_is_seen_as_such() -> None:
    noisy = entry(3.0, error=0.2)
    (floor,) = calibration.seed_noise(POLICY, [noisy, noisy], noisy)
    assert floor.same_draws == pytest.approx(3 * math.sqrt(2) * 0.2 / 3)
    assert floor.other_draws == pytest.approx(3 * math.sqrt(2) * 0.2 / 3), "two equal values are no proof of no spread"
    assert not floor.quiet


def test_what_cannot_be_compared_has_no_floor() -> None:
    (floor,) = calibration.seed_noise(POLICY, [entry(3.0), entry(3.0, not_gateable="it is nan")], entry(3.0))
    assert floor.trouble == "it is nan"
    assert not floor.quiet
    (zero,) = calibration.seed_noise(POLICY, [entry(0.0), entry(0.0)], entry(0.0))
    assert zero.trouble


def test_between_retrained_checkpoints_the_detectable_change_is_told() -> None:
    values = np.random.RandomState(0).lognormal(1, 0.2, 50)
    (floor,) = calibration.training_noise(parse_policy("retrained", {METRIC: "25%"}), seeds(values.tolist()))
    assert floor.value == pytest.approx(np.exp(np.log(values).mean()))
    assert floor.spread == pytest.approx(np.log(values).std(ddof=1))
    assert floor.between_runs == pytest.approx(detectable_increase(floor.spread, (5, 3), Rule(Tolerance(0.25))))
    assert floor.between_runs > 0.25


def test_one_checkpoint_has_no_spread_and_negative_values_no_logarithm() -> None:
    with pytest.raises(UsageError, match="one checkpoint has no spread"):
        calibration.training_noise(POLICY, [entry()])
    (floor,) = calibration.training_noise(POLICY, seeds([-1.0, 1.0]))
    assert "no logarithm" in floor.trouble
