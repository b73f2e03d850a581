"""The certificate against hundreds of designed spectra, hostile starts, and the theorem's own formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric

from landscape.algorithms.lanczos import basis, lanczos
from landscape.algorithms.lanczos.certificate import (
    Certificate,
    certificate,
    miss_probability,
    search_length,
    steps_for,
)
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.selection import Which, select_eigenvalues
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs


def run(
    operator: MatrixOperator, wanted: WantedPairs, *, most: int = 2000, rows: int = 400, seed: int = 0
) -> LanczosState:
    return last(lanczos.lanczos(operator, wanted, seed=seed, max_basis=rows, max_products=most))


def certified(operator: MatrixOperator, wanted: WantedPairs, **options: int) -> tuple[Certificate | None, np.ndarray]:
    state = run(operator, wanted, **options)
    assert lanczos.finished(state, wanted)
    return certificate(state, wanted), ritz_pairs(state, wanted).values


def test_the_bound_is_the_theorem_s_for_both_ends() -> None:
    assert miss_probability(10_000, 0.01, 100) == pytest.approx(2 * 1.648 * 100 * math.exp(-0.1 * 199))
    assert miss_probability(10_000, 0.01, 1) == 1.0


@pytest.mark.parametrize("size", [2, 3000, 10**9])
@pytest.mark.parametrize("gap", [1e-4, 0.01, 0.2])
@pytest.mark.parametrize("probability", [0.3, 0.01, 1e-12])
def test_the_steps_needed_are_the_fewest_that_suffice(size: int, gap: float, probability: float) -> None:
    steps = steps_for(size, gap, probability)
    assert miss_probability(size, gap, steps) <= probability
    assert steps == 1 or miss_probability(size, gap, steps - 1) > probability


def test_the_theorem_holds_for_random_starts() -> None:
    """How often s steps miss the top value by more than the gap, in 400 runs, against the bound for one end."""
    values = np.concatenate([[1.0], np.linspace(0, 0.9, 299)])
    gap, missed = 0.05, 0
    operator = symmetric(values)
    steps = 12
    for seed in range(400):
        state = run(operator, WantedPairs(1, confirm=0), most=steps, seed=seed)
        missed += ritz_pairs(state, WantedPairs(1)).values[0] < 1 - gap
    assert missed / 400 <= miss_probability(300, gap, steps) / 2


def designed(generator: np.random.Generator) -> np.ndarray:
    """A random spectrum of 60: clusters, copies, gaps of all sizes, one or both signs."""
    kind = generator.integers(5)
    bulk = generator.normal(0, 0.2, 60)
    if kind == 0:
        bulk[:6] = generator.uniform(0.5, 3, 6)
    elif kind == 1:
        bulk[:8] = np.repeat(generator.uniform(1, 2, 2), 4)  # copies
    elif kind == 2:
        bulk[:6] = 1 + np.arange(6) * 10.0 ** -generator.integers(2, 7)  # a cluster
    elif kind == 3:
        bulk = generator.choice([-2.0, 0.0, 0.5, 3.0], 60)
    else:
        bulk = np.abs(bulk) ** 3
    return bulk


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude", "both"])
def test_none_of_500_designed_spectra_is_falsely_certified(which: Which) -> None:
    """125 for each end: whatever lies beyond the found values and is not among them is within the margin."""
    generator = np.random.default_rng(["largest", "smallest", "magnitude", "both"].index(which))
    for seed in range(125):
        values = designed(generator)
        wanted = WantedPairs(3, which, gap=0.05, probability=0.01)
        proof, found = certified(symmetric(values, seed=seed), wanted, seed=seed)
        assert proof is not None
        assert proof.probability <= 0.01
        exact = values[select_eigenvalues(values, 3, which)]
        if which == "both":
            beyond = max(exact[:2].min() - found[:2].min(), found[2] - exact[2])
        elif which == "magnitude":
            beyond = np.abs(exact).min() - np.abs(found).min()
        else:
            beyond = (exact[-1] - found[-1]) * (1 if which == "largest" else -1)
        assert beyond <= proof.margin


def test_a_start_orthogonal_to_the_top_eigenvector_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a search 9 is found; the certificate's search finds 10 and goes on."""
    values = np.concatenate([[10.0, 9.0, 5.0], np.linspace(0, 1, 57)])
    operator = MatrixOperator(torch.diag(torch.from_numpy(values)))
    original = basis.random_unit_vector

    def hostile(rows: torch.Tensor, seed: int, label: int, place: int) -> torch.Tensor:
        vector = original(rows, seed, label, place)
        if not label:  # the first start
            vector[0] = 0
            vector /= vector.norm()
        return vector

    monkeypatch.setattr("landscape.algorithms.lanczos.lanczos.random_unit_vector", hostile)
    blind = run(operator, WantedPairs(1, confirm=0))
    assert ritz_pairs(blind, WantedPairs(1)).values[0] == pytest.approx(9)
    proof, found = certified(operator, WantedPairs(1, confirm=0, gap=0.02, probability=0.01))
    assert found[0] == pytest.approx(10)
    assert proof is not None
    assert proof.probability <= 0.01


def test_each_search_has_half_the_chance_of_the_one_before() -> None:
    wanted = WantedPairs(1, gap=0.01, probability=0.02)
    lengths = [search_length(wanted, cycle, 5000) for cycle in (1, 2, 3)]
    assert lengths == [steps_for(5000, 0.01, 0.02 * 0.5**cycle) for cycle in (1, 2, 3)]
    assert lengths[0] < lengths[1] < lengths[2]


def test_copies_take_searches_and_the_chance_stays_below_what_was_asked() -> None:
    """Four copies of the top value are not all found from one start, so that there are several searches."""
    operator = MatrixOperator(torch.diag(torch.tensor([2.0] * 4 + list(np.linspace(0, 1, 80)), dtype=torch.float64)))
    wanted = WantedPairs(4, gap=0.02, probability=0.01)
    state = run(operator, wanted)
    proof = certificate(state, wanted)
    assert proof is not None
    assert state.cycle >= 2
    assert proof.probability <= 0.01
    last_alone = miss_probability(84, 0.02, state.cycle_products)
    assert proof.probability == pytest.approx(last_alone + 0.01 * (1 - 0.5 ** (state.cycle - 1)))
    assert np.allclose(ritz_pairs(state, wanted).values, 2)


def test_a_search_that_had_to_restart_certifies_nothing() -> None:
    operator = symmetric(np.concatenate([[3.0, 2.5], np.linspace(-1, 1, 300)]))
    wanted = WantedPairs(2, gap=0.005, probability=0.01)
    assert certificate(run(operator, wanted, rows=40), wanted) is None
    assert certificate(run(operator, wanted, rows=300), wanted) is not None


def test_a_run_cut_short_certifies_nothing() -> None:
    operator = symmetric(np.linspace(0, 1, 200))
    wanted = WantedPairs(1, gap=0.01, probability=0.01)
    assert certificate(run(operator, wanted, most=30), wanted) is None


def test_a_spanned_space_leaves_nothing_to_miss() -> None:
    proof, _ = certified(symmetric([1.0, 2.0, 3.0, 4.0]), WantedPairs(2, gap=0.1))
    assert proof is not None
    assert (proof.gap, proof.probability) == (0.0, 0.0)
    assert proof.margin < 1e-13


def test_the_margin_has_the_gap_the_width_and_the_residuals() -> None:
    values = np.concatenate([[9.0], np.linspace(-1, 3, 150)])
    operator = symmetric(values)
    wanted = WantedPairs(1, gap=0.01, probability=0.01)
    state = run(operator, wanted)
    proof = certificate(state, wanted)
    assert proof is not None
    left = 4.0 / 0.98  # what was searched runs from -1 to 3
    assert 0.01 * 4.0 <= proof.margin <= 0.01 * left + float(np.linalg.norm(state.locked_residuals)) + 1e-9
    rough = WantedPairs(1, tol=0.3, gap=0.01, probability=0.01)
    state = run(operator, rough)
    proof = certificate(state, rough)
    assert proof is not None
    inexact = float(np.linalg.norm(state.locked_residuals))
    assert inexact > 0.1
    assert proof.margin >= inexact + 0.01 * 3.5
