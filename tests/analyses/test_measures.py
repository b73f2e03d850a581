"""What the result of `measures` says of itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.analyses.measures import SIGMA_RANGE, MeasuresResult


@pytest.fixture
def result() -> MeasuresResult:
    """Measures with classes, and sigmas inside the range that is searched."""
    return MeasuresResult(
        loss=0.1,
        gradient_norm=0.2,
        fisher_rao=0.3,
        relative_flatness=2.0,
        relative_flatness_se=0.01,
        half_width=0.02,
        rtol=0.05,
        error=0.1,
        pac_bayes_sigma=0.1,
        pac_bayes_magnitude_sigma=0.2,
        deviation=0.1,
        draws=15,
        products=20,
        parameters=10,
        samples=5,
    )


def test_measures_within_their_tolerance_are_conclusive(result: MeasuresResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == []
    assert replace(result, relative_flatness=None, half_width=None).trouble() is None


def test_gradients_that_are_not_finite_need_another_precision(result: MeasuresResult) -> None:
    trouble = replace(result, fisher_rao=math.nan).trouble()
    assert trouble
    assert (trouble.kind, trouble.fix) == ("not finite", "--dtype float64")


@pytest.mark.parametrize("half", [0.3, math.nan], ids=["wide", "unknown"])
def test_a_wide_interval_of_relative_flatness_needs_more_products(result: MeasuresResult, half: float) -> None:
    trouble = replace(result, half_width=half).trouble()
    assert trouble
    assert trouble.kind == "unfinished"
    assert trouble.why.endswith("of relative flatness 2 after 20 products, 0.05 of it was asked for")
    assert "--max-products" in trouble.fix


def test_sigmas_below_and_above_the_range_are_remarks(result: MeasuresResult) -> None:
    below, above = replace(result, pac_bayes_sigma=SIGMA_RANGE[1], pac_bayes_magnitude_sigma=None).remarks()
    assert below.startswith("no pac bayes magnitude sigma: the smallest noise that is tried")
    assert above.startswith("pac bayes sigma is at the end of the range that is searched")


def test_without_classes_sigmas_are_not_missed(result: MeasuresResult) -> None:
    assert replace(result, error=None, pac_bayes_sigma=None, pac_bayes_magnitude_sigma=None).remarks() == []


@pytest.mark.parametrize(
    ("scale", "batch"), [(1278.0, "1,200"), (2.0, "2"), (1.9, ""), (math.inf, ""), (math.nan, ""), (None, "")]
)
def test_the_noise_scale_is_a_batch_size(result: MeasuresResult, scale: float | None, batch: str) -> None:
    words = f"in random batches of fewer than {batch} samples the noise of the gradient is larger than the gradient"
    assert replace(result, noise_scale=scale).meaning() == (words if batch else "")
