"""Which measurements can be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import SAMPLES

from landscape.gates import baseline
from landscape.gates.entry import Run


@pytest.fixture
def run() -> Run:
    """Of the sample that the baseline of this repository knows."""
    entry = next(e for e in baseline.read_baseline(SAMPLES / "baseline.json").entries if "digits-mlp" in e.name)
    return entry.runs["eig"]


def test_an_option_that_came_later_was_at_its_default_before(run: Run) -> None:
    earlier = {name: value for name, value in run.fingerprint.items() if name != "block"}
    before = replace(run, fingerprint=earlier)
    now = replace(run, fingerprint={**earlier, "block": 1})
    assert not now.mismatches(before)
    assert not before.mismatches(now)
    other = replace(run, fingerprint={**earlier, "block": 4})
    assert other.mismatches(before) == ["block: 4, in the baseline 1"]


def test_a_curve_around_the_radius_does_not_make_another_measurement_of_it() -> None:
    entry = next(e for e in baseline.read_baseline(SAMPLES / "baseline.json").entries if "digits-mlp" in e.name)
    before = entry.runs["sharpness"]
    assert "curve" not in before.fingerprint  # it is of a version without curves
    assert not replace(before, fingerprint={**before.fingerprint, "curve": [0.1, 0.4]}).mismatches(before)
    assert replace(before, fingerprint={**before.fingerprint, "starts": 9}).mismatches(before)


def test_what_is_no_option_must_be_there(run: Run) -> None:
    less = replace(run, fingerprint={name: value for name, value in run.fingerprint.items() if name != "data"})
    assert len(run.mismatches(less)) == 1
