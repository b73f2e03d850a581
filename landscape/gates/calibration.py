"""The smallest change that a gate can see, from repeated measurements of one checkpoint or from retrained ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import UsageError
from landscape.gates.entry import Entry
from landscape.gates.metric import Metric, Reading
from landscape.gates.policy import Policy, Rule
from landscape.gates.retrained import MIN_CHECKPOINTS, detectable_increase
from landscape.gates.same_weights import SIGNIFICANT_ERRORS, difference_error

MIN_RETRAINED = 2  # checkpoints: one has no spread


@dataclass(frozen=True)
class NoiseFloor:
    """The noise of one metric, relative to its size; None where it was not measured.

    `repeated` is the change by other micro-batches, `spread` the standard deviation over seeds of the method or of
    training. `same_draws` and `other_draws` are the smallest changes that stand out of the noise, measured with the
    baseline's seed and with another one. `between_runs` is the smallest change that the gate finds between groups of
    retrained checkpoints.
    """

    metric: str
    checkpoint: str
    value: float
    spread: float
    tolerance: float
    repeated: float | None = None
    same_draws: float | None = None
    other_draws: float | None = None
    between_runs: float | None = None
    trouble: str = ""

    @property
    def quiet(self) -> bool:
        """Whether the smallest change that stands out, with the baseline's seed, is below the tolerance."""
        return not self.trouble and self.same_draws is not None and self.same_draws <= self.tolerance


def seed_noise(policy: Policy, seeds: Sequence[Entry], repeated: Entry) -> list[NoiseFloor]:
    """The noise floors of one checkpoint, from several seeds of the method.

    `repeated` is the measurement of the first seed in other micro-batches.
    """
    return [
        _seed_floor(
            metric, rule, [_reading(entry, metric) for entry in seeds], _reading(repeated, metric), repeated.name
        )
        for metric, rule in _active_rules(policy)
    ]


def training_noise(policy: Policy, entries: Sequence[Entry]) -> list[NoiseFloor]:
    """The spread of each metric between retrained checkpoints, and the change found between groups of 5 and 3.

    Raises UsageError for a single checkpoint.
    """
    if len(entries) < MIN_RETRAINED:
        raise UsageError("one checkpoint has no spread", fix="name several that differ in the seed of training")
    return [
        _training_floor(metric, rule, [_reading(entry, metric) for entry in entries])
        for metric, rule in _active_rules(policy)
    ]


def _active_rules(policy: Policy) -> list[tuple[Metric, Rule]]:
    return [(metric, rule) for metric, rule in policy.rules.items() if rule.level != "off"]


def _reading(entry: Entry, metric: Metric) -> Reading:
    return entry.readings[str(metric)]


def _seed_floor(metric: Metric, rule: Rule, seeds: Sequence[Reading], repeated: Reading, name: str) -> NoiseFloor:
    size = abs(seeds[0].value)
    trouble = next((reading.not_gateable for reading in (*seeds, repeated) if reading.not_gateable), "")
    if trouble or not size:
        return NoiseFloor(
            str(metric), name, seeds[0].value, math.nan, rule.tolerance.share, trouble=trouble or "it is 0"
        )
    apart = abs(repeated.value - seeds[0].value)
    spread = float(np.std([reading.value for reading in seeds], ddof=1))
    likely = max(spread, seeds[0].error or 0.0)  # the spread of a few seeds is often too small
    same = SIGNIFICANT_ERRORS * max(difference_error(seeds[0], repeated), apart)
    return NoiseFloor(
        str(metric),
        name,
        seeds[0].value,
        spread / size,
        rule.tolerance.of(size) / size,
        repeated=apart / size,
        same_draws=max(same, seeds[0].floor) / size,
        other_draws=max(SIGNIFICANT_ERRORS * math.sqrt(2) * likely, seeds[0].floor) / size,
    )


def _training_floor(metric: Metric, rule: Rule, readings: Sequence[Reading]) -> NoiseFloor:
    values = np.array([reading.value for reading in readings])
    name = f"{len(readings)} checkpoints"
    trouble = next((reading.not_gateable for reading in readings if reading.not_gateable), "")
    if trouble or not (values > 0).all():
        found = trouble or "values of 0 or below have no logarithm, on which the spread is measured"
        return NoiseFloor(str(metric), name, float(values.mean()), math.nan, rule.tolerance.share, trouble=found)
    logs = np.log(values)
    center, spread = float(np.exp(logs.mean())), float(logs.std(ddof=1))
    smallest = detectable_increase(spread, (MIN_CHECKPOINTS["baseline"], MIN_CHECKPOINTS["candidate"]), rule, center)
    return NoiseFloor(str(metric), name, center, spread, rule.tolerance.of(center) / center, between_runs=smallest)
