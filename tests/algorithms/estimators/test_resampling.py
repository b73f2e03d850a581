"""The jackknife over groups against the textbook's standard errors and against repetition."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.estimators.resampling import (
    bootstrap,
    data_standard_error,
    group_ends,
    largest_data_standard_error,
    standard_errors,
)


def test_groups_of_one_sample_give_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    expected = values.std(axis=0, ddof=1) / 50**0.5
    assert np.allclose(standard_errors(values, np.ones(50)), expected, rtol=1e-12)


def test_unequal_groups_are_ratios_of_sums() -> None:
    """Samples of variance 4: whatever the groups, the standard error of their mean is 2 / sqrt(n)."""
    generator = np.random.default_rng(1)
    counts = np.array([5, 9, 2, 7, 11, 4, 8, 6] * 4)
    found = []
    for _ in range(400):
        sums = np.array([generator.normal(3, 2, count).sum() for count in counts])
        found.append(standard_errors(sums[:, None], counts)[0])
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(2 / counts.sum() ** 0.5, rel=0.05)


def test_the_probes_part_is_taken_off() -> None:
    """Group means of variance 1 seen through 16 probes of variance 9 each."""
    generator = np.random.default_rng(2)
    squares = []
    for _ in range(400):
        groups = generator.normal(5, 1, (20, 1)) + generator.normal(0, 3, (20, 16))
        squares.append(np.nan_to_num(data_standard_error(groups, np.ones(20))) ** 2)
    assert np.mean(squares) == pytest.approx(1 / 20, rel=0.1)


def test_equal_groups_have_no_error() -> None:
    assert data_standard_error(np.full((5, 4), 3.0), np.ones(5)) == 0


@pytest.mark.parametrize(("samples", "groups"), [(10, 3), (1300, 20), (7, 7), (5, 2)])
def test_groups_are_as_equal_as_can_be(samples: int, groups: int) -> None:
    sizes = np.diff([0, *group_ends(samples, groups), samples])
    assert len(sizes) == groups
    assert sizes.max() - sizes.min() <= 1


def test_what_cannot_be_told_from_the_probes_is_not_a_number() -> None:
    opposed = np.array([[1.0, -1.0], [-1.0, 1.0], [2.0, -2.0], [-2.0, 2.0]])  # the probes' means are all zero
    assert np.isnan(data_standard_error(opposed, np.ones(4)))


@pytest.mark.parametrize(
    "directions", [1, 19], ids=["two distinct samples: all groups deviate in one direction", "many samples"]
)
@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
def test_what_probes_hide_is_bounded(directions: int, size: float) -> None:
    """Deviations of `size` times the noise of the probes' mean, in as many directions."""
    generator = np.random.default_rng(3)
    shapes = np.linalg.qr(np.column_stack([np.ones(20), generator.normal(size=(20, directions))]))[0][:, 1:]
    truth, noise = np.full(directions, size / directions**0.5), 4 / directions**0.5
    expected = np.sqrt(20 / 19) / 20 * np.linalg.norm(truth)
    bounds, plain = [], []
    for _ in range(400):
        sums = shapes @ (truth[:, None] + generator.normal(0, noise, (directions, 16)))
        bounds.append(largest_data_standard_error(sums, np.ones(20)))
        plain.append(data_standard_error(sums, np.ones(20)))
    hidden = np.isnan(plain)
    assert np.mean(hidden & (np.array(bounds) < expected)) <= 0.03
    assert np.mean(np.array(bounds) >= 0.5 * expected) >= 0.97
    assert np.median(bounds) <= 2.5 * max(expected, np.sqrt(20 / 19) / 20)
    assert (np.array(bounds)[~hidden] >= np.array(plain)[~hidden] - 1e-12).all()


def test_fewer_than_two_groups_that_count_tell_no_error() -> None:
    sums, counts = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]), np.array([2.0, 0.0, 0.0])
    assert np.isnan(standard_errors(sums, counts)).all()
    assert np.isnan(data_standard_error(sums, counts))
    assert np.isnan(largest_data_standard_error(sums, counts))


def test_groups_that_count_nothing_do_not_change_the_error() -> None:
    sums, counts = np.array([[3.0], [5.0], [4.0]]), np.ones(3)
    more = np.concatenate([sums, np.zeros((2, 1))]), np.concatenate([counts, np.zeros(2)])
    assert standard_errors(*more) == pytest.approx(standard_errors(sums, counts))


def test_bootstrap_intervals_are_those_of_the_normal_law_for_a_mean() -> None:
    random = np.random.RandomState(0)
    values = random.randn(400, 2) * [1.0, 3.0] + [5.0, -2.0]
    low, high = bootstrap(values, np.ones(400), 4000, 1)
    error = values.std(axis=0) / 20
    assert (low + high) / 2 == pytest.approx(values.mean(axis=0), abs=0.2 * error.max())
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.08)


def test_bootstrap_weighs_samples_by_what_they_count() -> None:
    sums, counts = np.array([[10.0], [0.0]]), np.array([10.0, 1.0])
    low, high = bootstrap(np.repeat(sums, 200, axis=0), np.repeat(counts, 200), 500, 0)
    assert low[0] < 10 / 11 < high[0]
    assert np.array_equal(bootstrap(sums, counts, 50, 3), bootstrap(sums, counts, 50, 3))
    assert not np.array_equal(
        bootstrap(np.repeat(sums, 9, 0), np.repeat(counts, 9), 50, 3),
        bootstrap(np.repeat(sums, 9, 0), np.repeat(counts, 9), 50, 4),
    )
