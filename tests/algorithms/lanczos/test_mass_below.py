"""Bounds on the share of eigenvalues below a threshold: for every probe, and over repeated draws of the probes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from landscape.algorithms.lanczos.batched import QuadratureRule
from landscape.algorithms.lanczos.mass_below import bounds_below, mass_below

SIZE = 120


def rule_of(spectrum: np.ndarray, probe: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weights and residuals of one probe after so many steps of Lanczos with full reorthogonalization."""
    basis, diagonal, beside = [probe / np.linalg.norm(probe)], [], []
    for _ in range(steps):
        image = spectrum * basis[-1]
        diagonal.append(image @ basis[-1])
        for _ in range(2):
            image = image - np.array(basis).T @ (np.array(basis) @ image)
        beside.append(np.linalg.norm(image))
        basis.append(image / beside[-1])
    matrix = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes, vectors[0] ** 2, np.abs(vectors[-1]) * beside[-1]


SPECTRA: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "uniform": lambda rng: rng.uniform(-1, 2, SIZE),
    "decaying": lambda rng: np.concatenate([np.geomspace(1e-6, 5, SIZE - 30), -np.geomspace(1e-6, 1, 30)]),
    "clustered": lambda rng: np.concatenate([np.full(20, -0.5), np.full(90, 1.0), rng.normal(0, 2, 10)]),
    "one-below": lambda rng: np.append(rng.uniform(0, 2, SIZE - 1), -0.7),
    "gap": lambda rng: np.concatenate([rng.uniform(-2, -1, 40), rng.uniform(1, 2, 80)]),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("steps", [2, 6, 15])
def test_the_measure_of_every_probe_lies_within_its_bounds(name: str, steps: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        spectrum, probe = SPECTRA[name](rng), rng.normal(size=SIZE)
        steps = min(steps, len(np.unique(spectrum)) - 1)
        nodes, weights, _ = rule_of(spectrum, probe, steps)
        masses = probe**2 / (probe**2).sum()
        for threshold in (-1.2, -0.6, -0.1, 0.0, 0.3):
            low, high = bounds_below(nodes, weights, threshold, 0.0, exact=False)
            exact = masses[spectrum < threshold].sum()
            assert low - 1e-9 <= exact <= high + 1e-9


@pytest.mark.parametrize("name", SPECTRA)
def test_each_bound_holds_in_at_least_95_percent_of_all_draws(name: str) -> None:
    rng = np.random.default_rng(1)
    spectrum = SPECTRA[name](np.random.default_rng(0))
    exact, above, below = (spectrum < -0.3).mean(), 0, 0
    for _ in range(200):
        rules = [rule_of(spectrum, rng.normal(size=SIZE), 8) for _ in range(4)]
        found = mass_below(QuadratureRule(*map(np.stack, zip(*rules, strict=True)), SIZE), -0.3, 1e-9)  # type: ignore[arg-type]
        assert found.low <= found.share <= found.high
        above += found.high >= exact
        below += found.low <= exact
    assert above >= 186  # 95 % less two standard deviations of 200 draws
    assert below >= 186


def test_a_node_at_the_threshold_makes_bounds_narrower_than_the_nodes_beside_it() -> None:
    rng = np.random.default_rng(2)
    nodes, weights, _ = rule_of(np.sort(rng.uniform(-1, 2, SIZE)), rng.normal(size=SIZE), 12)
    low, high = bounds_below(nodes, weights, -0.3, 0.0, exact=False)
    beside = int((nodes < -0.3).sum())
    assert high - low < weights[beside - 1] + weights[beside]
    assert high - low > 0.3 * weights[beside]


def test_exact_rules_leave_the_draws_of_the_probes_alone() -> None:
    spectrum = np.array([-1.0, 0.5, 1.0, 2.0])
    probes = np.random.default_rng(3).normal(size=(6, 4))
    weights = probes**2 / (probes**2).sum(axis=1, keepdims=True)
    rule = QuadratureRule(np.tile(spectrum, (6, 1)), weights, np.zeros((6, 4)), 4)
    found = mass_below(rule, -0.5, 1e-9)
    assert found.share == pytest.approx(weights[:, 0].mean())
    assert found.low < 0.25 < found.high


def test_single_eigenvalues_that_all_probes_found_are_counted() -> None:
    nodes = np.tile([-2.0, -1.0, 0.5, 1.0, 2.0], (3, 1))
    weights = np.tile([1 / 100, 1 / 100, 0.4, 0.3, 0.28], (3, 1))
    rule = QuadratureRule(nodes, weights, np.full((3, 5), 1e-6), 100)
    found = mass_below(rule, -1.5, 1e-9)
    assert found.low == pytest.approx(0.01)
    assert mass_below(rule, -1.0, 1e-9).low == pytest.approx(0.01)  # the second is at the threshold: it may count
    assert mass_below(rule, -1.0, 1e-9).high >= 0.02


def test_eigenvalues_within_rounding_of_the_threshold_may_lie_on_both_sides() -> None:
    spectrum = np.concatenate([np.zeros(60), np.linspace(1, 2, 60)])
    nodes, weights, _ = rule_of(spectrum, np.random.default_rng(4).normal(size=SIZE), 10)
    low, high = bounds_below(nodes, weights, 0.0, 1e-6, exact=False)
    assert low < 0.01
    assert high > 0.3
