"""Numbers from rules against the same numbers from eigenvalues, and their errors against repetition."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.dense import last, symmetric

from landscape.algorithms.lanczos import quadrature as spectrum
from landscape.algorithms.lanczos.batched import QuadratureRule, batched_lanczos, quadrature_rules
from landscape.network.space import ParameterGroup

SPECTRUM = np.concatenate([np.linspace(-0.5, 1, 280), [4.0, 5.0, 9.0, -2.0], np.full(16, 3.0)])
WHOLE = ParameterGroup("all", ("w",), ((0, len(SPECTRUM)),))
NUMBERS = {
    "trace": (spectrum.rule_trace, SPECTRUM.sum()),
    "frobenius-norm": (spectrum.frobenius_norm, np.linalg.norm(SPECTRUM)),
    "negative-ratio": (spectrum.negative_ratio, -SPECTRUM[SPECTRUM < 0].sum() / SPECTRUM[SPECTRUM > 0].sum()),
    "effective-rank": (
        spectrum.effective_rank,
        np.exp(-sum(p * np.log(p) for p in np.abs(SPECTRUM) / np.abs(SPECTRUM).sum() if p > 0)),
    ),
}


def exact() -> QuadratureRule:
    """The rule of the whole spectrum, every eigenvalue with its own share."""
    values = np.sort(SPECTRUM)[None]
    return QuadratureRule(values, np.full(values.shape, 1 / len(SPECTRUM)), np.zeros(values.shape), len(SPECTRUM))


def measured(probes: int, seed: int = 0, steps: int = 40) -> QuadratureRule:
    running = batched_lanczos(
        symmetric(SPECTRUM), [WHOLE], probes=probes, steps=steps, probes_per_pass=probes, seed=seed
    )
    return quadrature_rules(last(running), [WHOLE])[0]


@pytest.mark.parametrize(("number", "expected"), NUMBERS.values(), ids=list(NUMBERS))
def test_numbers_of_the_exact_rule_are_those_of_the_spectrum(number: spectrum.Callable, expected: float) -> None:  # type: ignore[type-arg]
    assert number(exact()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("number", "expected"), NUMBERS.values(), ids=list(NUMBERS))
def test_the_stated_error_is_what_repetition_shows(number: spectrum.Callable, expected: float) -> None:  # type: ignore[type-arg]
    estimates = [spectrum.jackknife(measured(8, seed), number) for seed in range(60)]
    values, errors = np.array([e.value for e in estimates]), np.array([e.error for e in estimates])
    assert abs(values.mean() - expected) < 4 * values.std() / 60**0.5
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.35)  # 60 repeats know it to 9 %


def test_a_single_probe_has_no_error() -> None:
    assert np.isnan(spectrum.jackknife(measured(1), spectrum.rule_trace).error)


def test_the_jackknife_takes_the_bias_off() -> None:
    """The square of a mean is too large by its variance; what the jackknife leaves is the unbiased estimate."""
    rule = measured(6)
    each = len(SPECTRUM) * (rule.weights * rule.nodes).sum(axis=1)
    found = spectrum.jackknife(rule, lambda part: spectrum.rule_trace(part) ** 2)
    assert found.value == pytest.approx(each.mean() ** 2 - each.var(ddof=1) / 6, rel=1e-12)
    linear = spectrum.jackknife(rule, spectrum.rule_trace)
    assert linear.value == pytest.approx(each.mean())
    assert linear.error == pytest.approx(each.std(ddof=1) / 6**0.5)


def test_the_negative_mass_lies_within_the_stated_quadrature_error() -> None:
    """The inequality holds for every probe's own measure; 200 probes make the mean of the measures the spectrum."""
    expected = (SPECTRUM < 0).mean()
    for steps in (4, 10, 30):
        rule = measured(200, steps=steps)
        found, bound = spectrum.negative_mass(rule, 0.0), spectrum.negative_mass_uncertainty(rule, 0.0)
        assert abs(found - expected) <= bound + 0.01
    assert spectrum.negative_mass_uncertainty(exact(), 0.0) == pytest.approx(2 / len(SPECTRUM))


def test_the_error_of_the_quadrature_is_added_to_that_of_the_probes() -> None:
    """Three for the probes, and 1.5 times a change of 8/3: the hypotenuse is 5."""
    number = spectrum.Estimate(10.0, 3.0).with_quadrature_error(spectrum.Estimate(10.0 - 8 / 3, 100.0))
    assert number.value == 10
    assert number.error == pytest.approx(5)


def test_the_floor_keeps_rounding_of_zero_from_being_negative() -> None:
    rule = QuadratureRule(np.array([[-1e-9, 1.0]]), np.array([[0.5, 0.5]]), np.zeros((1, 2)), 2)
    assert spectrum.negative_mass(rule, 1e-6) == 0
    assert spectrum.negative_mass(rule, 0.0) == 0.5


def test_the_density_is_the_smoothed_spectrum_and_integrates_to_one() -> None:
    grid = np.linspace(-4, 11, 3000)
    smooth, error = spectrum.smoothed_density(exact(), grid, 0.1)
    expected = np.mean(
        [np.exp(-(((grid - value) / 0.1) ** 2) / 2) / (0.1 * np.sqrt(2 * np.pi)) for value in SPECTRUM], axis=0
    )
    assert np.allclose(smooth, expected, rtol=1e-12)
    assert np.isnan(error).all()
    assert smooth.sum() * (grid[1] - grid[0]) == pytest.approx(1, rel=1e-6)


def test_the_density_of_many_probes_covers_the_exact_one_within_its_error() -> None:
    grid = np.linspace(-3, 10, 400)
    exactly, _ = spectrum.smoothed_density(exact(), grid, 0.2)
    smooth, error = spectrum.smoothed_density(measured(60), grid, 0.2)
    there = exactly > 1e-4
    assert (np.abs(smooth - exactly) < 2 * error)[there].mean() > 0.85
    assert (np.abs(smooth - exactly) < 5 * error)[there].all()


def test_the_condition_of_the_bulk_is_a_ratio_of_quantiles_of_the_sum() -> None:
    values = np.arange(1.0, 101)[None]
    rule = QuadratureRule(values, np.full((1, 100), 0.01), np.zeros((1, 100)), 100)
    # sum to n is n (n + 1) / 2 of 5050: a quarter at 50, three quarters at 87
    assert spectrum.bulk_condition(rule) == pytest.approx(87 / 50)
    assert np.isnan(spectrum.bulk_condition(QuadratureRule(values * 0, rule.weights, rule.residuals, 100)))
    spread = spectrum.spread(measured(12), spectrum.bulk_condition)
    assert abs(spread.value - spectrum.bulk_condition(exact())) < 4 * spread.error


def test_a_zero_spectrum_has_rank_zero() -> None:
    rule = QuadratureRule(np.zeros((2, 1)), np.ones((2, 1)), np.zeros((2, 1)), 10)
    assert spectrum.effective_rank(rule) == 0
    assert spectrum.rule_trace(rule) == 0
