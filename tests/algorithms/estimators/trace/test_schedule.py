"""The order of the steps, as a table over the counts of a run, and the forecast against its own formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.algorithms.estimators.trace.schedule import (
    DECAY_PRIOR,
    Forecast,
    StepName,
    TraceCounts,
    fit_decay,
    next_step,
)
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceMethod

START = TraceCounts(
    size=1000,
    capacity=80,
    products=0,
    sketched=0,
    others=0,
    rounds=0,
    diagonal=0,
    captured=False,
    reached=False,
)
SKETCHED = replace(START, products=32, sketched=16, rounds=2)


def step(
    counts: TraceCounts,
    method: TraceMethod = "auto",
    *,
    most: int = 2000,
    min_others: int = 0,
    forecast: Forecast | None = None,
) -> StepName | None:
    def asked() -> Forecast:
        assert forecast is not None, "the counts alone decide"
        return forecast

    return next_step(counts, TraceGoal(method, 0.01, most, counts.capacity, min_others), asked)


@pytest.mark.parametrize(
    ("counts", "method", "expected"),
    [
        (START, "auto", "sketch"),
        (START, "hutch++", "sketch"),
        (START, "xtrace", "sketch"),
        (START, "hutchinson", "probe"),
        (replace(START, size=32), "auto", "diagonal"),
        (replace(START, size=33), "auto", "sketch"),
        (replace(START, size=32), "xtrace", "sketch"),
        (replace(START, products=16, sketched=8, rounds=1), "auto", "sketch"),
        (replace(SKETCHED, captured=True), "auto", None),
        (replace(SKETCHED, reached=True), "auto", None),
        (replace(SKETCHED, sketched=80), "xtrace", None),
        (replace(START, products=8, diagonal=8), "auto", "diagonal"),
        (replace(START, products=1000, diagonal=1000), "auto", None),
    ],
    ids=[
        "auto-begins-with-a-sketch",
        "hutch++-too",
        "xtrace-too",
        "hutchinson-has-none",
        "small-matrices-are-summed",
        "only-if-no-estimate-takes-fewer-products",
        "only-under-auto",
        "two-rounds-before-a-forecast",
        "a-captured-range-is-exact",
        "the-goal-ends-it",
        "xtrace-ends-with-the-memory",
        "a-begun-diagonal-goes-on",
        "and-ends-with-the-last-entry",
    ],
)
def test_the_counts_alone_decide(counts: TraceCounts, method: TraceMethod, expected: StepName | None) -> None:
    assert step(counts, method) == expected


@pytest.mark.parametrize(
    ("left", "method", "expected"),
    [(0, "auto", None), (1, "auto", "probe"), (1, "xtrace", None), (0, "hutchinson", None)],
)
def test_the_limit_on_products(left: int, method: TraceMethod, expected: StepName | None) -> None:
    assert step(SKETCHED, method, most=SKETCHED.products + left) == expected


def test_the_first_product_of_xtrace_may_be_its_last() -> None:
    assert step(START, "xtrace", most=1) == "probe"


def test_products_are_reserved_for_the_other_probes_that_hutchpp_and_blocks_need() -> None:
    assert step(SKETCHED, "hutch++", most=32 + 25) == "probe"  # a round of sketching takes 16, and 10 are needed
    assert step(SKETCHED, "hutch++", most=32 + 26, forecast=Forecast("sketch", 20)) == "sketch"
    assert step(SKETCHED, most=32 + 31, min_others=16) == "probe"
    assert step(replace(SKETCHED, others=16), most=32 + 31, min_others=16, forecast=Forecast("sketch", 9)) == "sketch"


def test_blocks_get_their_probes_though_the_goal_is_reached() -> None:
    reached = replace(SKETCHED, reached=True)
    assert step(reached, min_others=16) == "probe"
    assert step(replace(reached, others=16), min_others=16) is None


def test_a_forecast_beyond_the_size_of_the_matrix_makes_the_diagonal_cheaper() -> None:
    far, near = Forecast("sketch", 1001), Forecast("sketch", 1000)
    assert step(SKETCHED, forecast=far) == "diagonal"
    assert step(SKETCHED, forecast=near) == "sketch"
    assert step(SKETCHED, most=1031, forecast=far) == "sketch"  # the diagonal does not fit into the limit


def test_the_decay_of_the_spread_is_fitted_with_a_prior() -> None:
    """Without a slope in the data the prior decides; many rounds of s^-p give p."""
    assert fit_decay(np.array([[8.0, 3.0]])) == pytest.approx(DECAY_PRIOR)
    rounds = 2.0 ** np.arange(3, 40)
    assert fit_decay(np.column_stack([rounds, rounds**-1.5])) == pytest.approx(1.5, abs=2e-3)
    assert fit_decay(np.column_stack([rounds, rounds])) == 0.0  # a growing spread does not decay
    assert fit_decay(np.array([[8.0, 0.0], [16.0, 1.0]])) == DECAY_PRIOR
