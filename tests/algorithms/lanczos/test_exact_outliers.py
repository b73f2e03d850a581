"""Exact weights for simple eigenvalues that all probes found, and only for those."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric

from landscape.algorithms.lanczos.batched import QuadratureRule, batched_lanczos, quadrature_rules
from landscape.algorithms.lanczos.exact_outliers import rules_with_exact_outliers
from landscape.network.space import ParameterBlock, ParameterGroup, ParameterSpace

BULK = np.linspace(-0.1, 0.1, 190)
OUTLIERS = [9.0, 7.0, 5.0, 4.0, -3.0]
SPECTRUM = np.concatenate([BULK, OUTLIERS, [2.0] * 5])
WHOLE = ParameterGroup("all", ("w",), ((0, 200),))


def measured(
    spectrum: np.ndarray, seed: int = 0, *, probes: int = 4, probes_per_pass: int = 4, steps: int = 25
) -> list[QuadratureRule]:
    operator = symmetric(spectrum)
    state = last(
        batched_lanczos(operator, [WHOLE], probes=probes, steps=steps, probes_per_pass=probes_per_pass, seed=seed)
    )
    return [quadrature_rules(state, [WHOLE])[0], rules_with_exact_outliers(state, [WHOLE])[0]]


def weights_at(rule: QuadratureRule, value: float) -> np.ndarray:
    return (rule.weights * (np.abs(rule.nodes - value) < 1e-5)).sum(axis=1)


def test_outliers_get_their_exact_weight_and_the_rest_what_is_left() -> None:
    plain, sharp = measured(SPECTRUM)
    for value in OUTLIERS:
        assert np.allclose(weights_at(sharp, value), 1 / 200, rtol=1e-12)
        assert np.abs(weights_at(plain, value) * 200 - 1).max() > 0.1
    assert np.allclose(sharp.weights.sum(axis=1), 1)
    assert np.array_equal(sharp.nodes, plain.nodes, equal_nan=True)


def test_a_repeated_eigenvalue_keeps_its_random_weight() -> None:
    """Five copies of 2: one node whose weights differ from probe to probe about 5 / 200."""
    _, sharp = measured(SPECTRUM)
    found = weights_at(sharp, 2.0) * 200
    assert np.ptp(found) > 0.5
    many = [weights_at(measured(SPECTRUM, seed)[1], 2.0).mean() * 200 for seed in range(40)]
    assert np.mean(many) == pytest.approx(5, abs=4 * np.std(many) / 40**0.5)


def test_the_mean_is_unbiased_and_its_spread_much_smaller() -> None:
    """tr f for f = the value itself and its square, over 60 runs."""
    values = np.concatenate([BULK, OUTLIERS, [2.0, 1.0, 0.7, 0.6, 0.5]])
    for power in (1, 2):
        means = np.array(
            [
                [
                    (rule.weights * np.nan_to_num(rule.nodes) ** power).sum(axis=1).mean()
                    for rule in measured(values, seed)
                ]
                for seed in range(60)
            ]
        )
        plain, sharp = means.T
        assert sharp.std() < plain.std() / 5
        assert abs(sharp.mean() - (values**power).mean()) < 4 * sharp.std() / 60**0.5


def test_probes_that_did_not_run_together_keep_plain_weights() -> None:
    plain, sharp = measured(SPECTRUM, probes_per_pass=2)
    assert np.array_equal(plain.weights, sharp.weights)


def test_a_wholly_known_spectrum_is_the_exact_rule() -> None:
    _, sharp = measured(np.linspace(1, 200, 200) ** 1.5, steps=200, probes=2, probes_per_pass=2)
    assert np.allclose(sharp.weights, 1 / 200)


def test_delta_functions_and_zero_are_left_as_they_are() -> None:
    for spectrum in (np.zeros(200), np.full(200, 3.0), np.repeat([1.0, 2.0], 100)):
        state = last(
            batched_lanczos(
                MatrixOperator(torch.diag(torch.from_numpy(spectrum))), [WHOLE], probes=3, steps=5, probes_per_pass=3
            )
        )
        assert np.array_equal(
            quadrature_rules(state, [WHOLE])[0].weights, rules_with_exact_outliers(state, [WHOLE])[0].weights
        )


def test_groups_are_sharpened_each_by_itself() -> None:
    space = ParameterSpace((ParameterBlock("a.w", (80,)), ParameterBlock("b.w", (80,)), ParameterBlock("a.b", (40,))))
    groups = space.layers()
    matrix = torch.zeros(200, 200, dtype=torch.float64)
    for group in groups:
        place = torch.cat([torch.arange(*piece) for piece in group.ranges])
        spectrum = np.concatenate([np.linspace(0, 0.1, group.size - 2), [group.size / 10, 3.0]])
        matrix[place[:, None], place] = symmetric(spectrum, seed=group.size).matrix
    state = last(batched_lanczos(MatrixOperator(matrix), groups, probes=3, steps=20, probes_per_pass=3))
    for group, rule in zip(groups, rules_with_exact_outliers(state, groups), strict=True):
        assert np.allclose(weights_at(rule, group.size / 10), 1 / group.size)
        assert np.allclose(weights_at(rule, 3.0), 1 / group.size)
