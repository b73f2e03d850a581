"""Lanczos on designed spectra: the defining identity, orthogonality, and every wanted value exactly once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.dense import MatrixOperator, symmetric

from landscape.algorithms.lanczos import basis
from landscape.algorithms.lanczos import lanczos as lanczos_module
from landscape.algorithms.lanczos import state as state_module
from landscape.algorithms.lanczos.lanczos import fewest_rows, finished, lanczos
from landscape.algorithms.lanczos.ritz import (
    error_bounds,
    final_pairs,
    is_converged,
    latest_values,
    rayleigh_ritz,
    ritz_pairs,
    ritz_vectors,
)
from landscape.algorithms.lanczos.selection import Which, select_eigenvalues
from landscape.algorithms.lanczos.state import Candidates, LanczosState, WantedPairs
from landscape.algorithms.snapshots import restore, snapshot
from landscape.errors import NumericalError

SPECTRA = {
    "clustered": np.r_[2 + 1e-2 * np.arange(6), np.linspace(0.1, 1, 114)],
    "indefinite-pm1": np.r_[np.ones(60), -np.ones(60)],
    "decaying-12-orders": 10.0 ** -np.linspace(0, 12, 120),
    "repeated": np.r_[[10.0] * 3, [5.0] * 2, np.linspace(-1, 1, 115)],
    "low-rank": np.r_[[4.0, 3.0, 2.0], np.zeros(117)],
    "all-zero": np.zeros(40),
    "hilbert-like": 1.0 / np.arange(1, 121) ** 2,
    "outliers-both-ends": np.r_[[-7.0, -6.0], np.linspace(-0.5, 0.5, 116), [8.0, 9.0]],
    "tiny": np.array([3.0, -1.0, 2.0, 0.5]),
    "one": np.array([-2.0]),
}
ENDS = ["largest", "magnitude", "both", "smallest"]
# no Krylov space smaller than P resolves 1e-12 beside 1
BLURRED = [(name, which) for name in ("decaying-12-orders", "hilbert-like") for which in ("both", "smallest")]
RESOLVABLE = [(name, which) for name in SPECTRA for which in ENDS if (name, which) not in BLURRED]
EPS = {torch.float64: 2.2e-16, torch.float32: 1.2e-7}


def solve(
    operator: MatrixOperator,
    wanted: WantedPairs,
    *,
    max_basis: int = 200,
    max_products: int = 4000,
    seed: int = 0,
    block: int = 1,
) -> tuple[LanczosState, Candidates]:
    for state in lanczos(  # noqa: B007
        operator, wanted, seed=seed, max_basis=max_basis, max_products=max_products, block=block
    ):
        pass
    return state, final_pairs(state, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
class TestDesignedSpectra:
    @pytest.mark.parametrize("block", [1, 4])
    @pytest.mark.parametrize("which", ENDS)
    @pytest.mark.parametrize("name", SPECTRA)
    def test_no_value_is_skipped_and_none_is_a_ghost(
        self, name: str, which: Which, dtype: torch.dtype, block: int
    ) -> None:
        spectrum = SPECTRA[name]
        wanted = WantedPairs(min(5, len(spectrum)), which)
        state, pairs = solve(symmetric(spectrum, dtype=dtype), wanted, block=block)
        exact = spectrum[select_eigenvalues(spectrum, wanted.count, which)]
        scale = np.abs(spectrum).max()
        assert finished(state, wanted)
        # the error of a Ritz value is at most its residual; equal sizes may come in either order
        allowed = pairs.residuals + 100 * EPS[dtype] * scale
        if which == "magnitude":
            assert (np.abs(np.abs(pairs.values) - np.abs(exact)) <= allowed).all()
        else:
            assert (np.abs(pairs.values - exact) <= allowed).all()

    @pytest.mark.parametrize(("name", "which"), RESOLVABLE)
    @pytest.mark.parametrize(
        ("block", "spare"), [(1, 4), (1, 25), (3, 8), (3, 25)], ids=["tight", "roomy", "tight-block", "roomy-block"]
    )
    def test_a_bounded_basis_gives_the_same_values(
        self, name: str, which: Which, dtype: torch.dtype, block: int, spare: int
    ) -> None:
        spectrum = SPECTRA[name]
        wanted = WantedPairs(min(5, len(spectrum)), which)
        assert spare >= fewest_rows(0, block)
        state, pairs = solve(symmetric(spectrum, dtype=dtype), wanted, max_basis=wanted.count + spare, block=block)
        exact = np.sort(np.abs(spectrum[select_eigenvalues(spectrum, wanted.count, which)]))
        assert finished(state, wanted)
        assert len(state.basis) <= wanted.count + spare
        allowed = pairs.residuals.max() + 100 * EPS[dtype] * np.abs(spectrum).max()
        assert np.abs(np.sort(np.abs(pairs.values)) - exact).max() <= allowed


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("block", "max_basis"),
    [(1, 200), (1, 14), (3, 200), (3, 14), (7, 37)],
    ids=["unrestarted", "thick-restart", "block", "block-restart", "block-7"],
)
@pytest.mark.parametrize("name", [name for name in SPECTRA if len(SPECTRA[name]) >= 40])
class TestIdentity:
    """A Q = Q T + N C' + L B and orthonormality, after every step."""

    def test_the_lanczos_relation_holds(self, name: str, block: int, max_basis: int, dtype: torch.dtype) -> None:
        operator = symmetric(SPECTRA[name], dtype=dtype)
        matrix, scale = operator.matrix, max(float(np.abs(SPECTRA[name]).max()), 1e-300)
        wanted = WantedPairs(4, tol=1e-2, confirm=30)
        for state in lanczos(operator, wanted, max_basis=max_basis, max_products=60 * block, block=block):
            if not state.active:
                continue  # right after a lock
            first, end = state.locked, state.locked + state.active
            locked, active = state.basis[:first].T, state.basis[first:end].T
            following = state.basis[end : state.used].T
            expected = (
                active @ torch.from_numpy(state.projected).to(dtype)
                + following @ torch.from_numpy(state.coupling.T).to(dtype)
                + locked @ torch.from_numpy(state.leakage).to(dtype)
            )
            assert float((matrix @ active - expected).abs().max()) <= 100 * EPS[dtype] * scale

    def test_the_basis_is_orthonormal_to_50_eps(
        self, name: str, block: int, max_basis: int, dtype: torch.dtype
    ) -> None:
        operator = symmetric(SPECTRA[name], dtype=dtype)
        wanted = WantedPairs(4, tol=1e-2, confirm=30)
        for state in lanczos(operator, wanted, max_basis=max_basis, max_products=60 * block, block=block):
            rows = state.basis[: state.used].double()
            assert float((rows @ rows.T - torch.eye(len(rows), dtype=torch.float64)).abs().max()) <= 50 * EPS[dtype]


@pytest.mark.parametrize("max_basis", [200, 12], ids=["unrestarted", "thick-restart"])
@pytest.mark.parametrize("confirm", [0, 8], ids=["first-cycle", "after-the-search"])
@pytest.mark.parametrize("block", [1, 3])
def test_reported_residuals_are_the_true_ones(max_basis: int, confirm: int, block: int) -> None:
    operator = symmetric(SPECTRA["outliers-both-ends"])
    state, pairs = solve(operator, WantedPairs(4, "both", confirm=confirm), max_basis=max_basis, block=block)
    rows = ritz_vectors(pairs, state.basis).T
    true = torch.linalg.vector_norm(operator.matrix @ rows - rows * torch.from_numpy(pairs.values), dim=0)
    assert np.allclose(pairs.residuals, true.numpy(), rtol=1e-6, atol=1e-13)


def test_error_bounds_hold_and_are_sharper_than_residuals() -> None:
    spectrum = np.r_[np.linspace(0, 1, 196), [2.0, 3.0, 5.0, 9.0]]
    state, pairs = solve(symmetric(spectrum), WantedPairs(4))
    errors = np.abs(pairs.values - spectrum[::-1][:4])
    bounds = error_bounds(pairs, state, WantedPairs(4))
    assert (errors <= bounds).all()
    assert (bounds <= 0.1 * pairs.residuals + state.noise).all()


def test_rounding_of_the_products_is_measured() -> None:
    class Noisy(MatrixOperator):
        """A symmetric matrix whose products are off by 1e-5, the same way each time."""

        def matmat(self, block: torch.Tensor) -> torch.Tensor:
            exact = super().matmat(block)
            return exact + 1e-5 * torch.sign(torch.sin(1e4 * exact))

    clean = symmetric(np.r_[np.linspace(0, 1, 96), [4.0, 6.0, 8.0, 10.0]])
    state, _ = solve(Noisy(clean.matrix), WantedPairs(3))
    per_vector = 1e-5 * np.sqrt(100)
    assert 0.1 * per_vector < state.rounding < 3 * per_vector


def test_a_start_that_misses_an_eigenvector_is_caught_by_the_second_start() -> None:
    """The first start vector is made exactly orthogonal to the top eigenvector."""
    from landscape import seeds

    start = seeds.normal(80, torch.zeros(1, dtype=torch.float64), 0, "lanczos", 0)
    top = torch.randn(80, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    top -= start * (top @ start) / (start @ start)
    top /= top.norm()
    complement = torch.eye(80, dtype=torch.float64) - torch.outer(top, top)
    bulk = complement @ symmetric(np.r_[np.linspace(0, 0.01, 78), [2.0, 3.0]]).matrix @ complement
    operator = MatrixOperator(bulk + 10 * torch.outer(top, top))
    _, blind = solve(operator, WantedPairs(2, confirm=0))
    _, seeing = solve(operator, WantedPairs(2))
    assert blind.values[0] < 4
    assert seeing.values[0] == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize("block", [1, 3])
def test_resuming_from_any_product_gives_bit_for_bit_the_uninterrupted_result(block: int) -> None:
    wanted = WantedPairs(4)
    operator = symmetric(SPECTRA["repeated"], dtype=torch.float32)

    def run(resume: LanczosState | None = None, stop: int = 2000) -> LanczosState:
        state = resume
        for state in lanczos(  # noqa: B007
            operator, wanted, max_basis=12, max_products=stop, block=block, resume=resume
        ):
            pass
        assert state is not None
        return state

    whole = run()
    assert whole.cycle >= 1
    for stop in range(1, whole.products, block):
        half = restore(LanczosState, snapshot(run(stop=stop)), operator.like)
        resumed = run(resume=half)
        for name, value in snapshot(whole).items():
            assert np.array_equal(value, snapshot(resumed)[name], equal_nan=True), (stop, name)


@pytest.mark.parametrize("k", [6, 10])
@pytest.mark.parametrize("size", [40, 200])
def test_many_copies_of_zero_do_not_replace_each_other_for_ever(size: int, k: int) -> None:
    spectrum = np.r_[[4.0, 3.0, -2.0], np.zeros(size - 3)]
    wanted = WantedPairs(k, "both")
    state, pairs = solve(symmetric(spectrum), wanted)
    assert finished(state, wanted)
    assert state.products <= 60
    assert np.allclose(pairs.values, spectrum[select_eigenvalues(spectrum, k, "both")], atol=1e-6)


def test_a_slight_asymmetry_is_rounding_and_keeps_values_from_converging() -> None:
    """What float32 products of a net fitted to a tiny loss look like."""
    matrix = symmetric(np.r_[np.linspace(-0.1, 0.1, 26), [1.0, 2.0, 3.0, 4.0]]).matrix
    generator = torch.Generator().manual_seed(0)
    matrix += 0.01 * torch.randn(30, 30, generator=generator, dtype=torch.float64)
    wanted = WantedPairs(3, confirm=0)
    state, pairs = solve(MatrixOperator(matrix), wanted)
    assert 1e-3 < state.rounding < 0.1
    assert not is_converged(pairs, state, wanted.tol).any()


def test_an_operator_that_is_not_symmetric_is_refused() -> None:
    matrix = torch.triu(symmetric(np.linspace(-1, 1, 30)).matrix)
    with pytest.raises(NumericalError, match="the operator is not symmetric"):
        solve(MatrixOperator(matrix), WantedPairs(3))


@pytest.mark.parametrize("entry", [float("nan"), float("inf")], ids=["nan", "infinite"])
def test_a_product_that_is_not_finite_is_an_error(entry: float) -> None:
    matrix = torch.eye(5)
    matrix[0, 0] = entry
    with pytest.raises(NumericalError, match="not finite"):
        solve(MatrixOperator(matrix), WantedPairs(2))


def test_a_basis_that_holds_nan_is_an_error() -> None:
    wanted = WantedPairs(2)
    running = lanczos(symmetric(np.linspace(-1, 2, 30)), wanted, max_basis=20, max_products=100)
    for _ in range(3):
        state = next(running)
    state.basis[1] = torch.nan
    with pytest.raises(NumericalError, match="not finite"):
        list(running)


def test_the_size_of_the_operator_does_not_matter() -> None:
    spectrum = SPECTRA["outliers-both-ends"]
    for size in (1e-25, 1e18):
        wanted = WantedPairs(4, "both")
        state, pairs = solve(symmetric(spectrum * size, dtype=torch.float32), wanted)
        assert finished(state, wanted)
        assert np.allclose(pairs.values / size, spectrum[select_eigenvalues(spectrum, 4, "both")], rtol=1e-5)


def test_rounding_beyond_the_tolerance_is_not_called_converged() -> None:
    class Rough(MatrixOperator):
        def matmat(self, block: torch.Tensor) -> torch.Tensor:
            exact = super().matmat(block)
            return exact + 1e-4 * torch.sign(torch.sin(1e4 * exact))

    operator = Rough(symmetric(np.r_[np.linspace(0, 1e-3, 97), [0.05, 9.0, 10.0]]).matrix)
    wanted = WantedPairs(3)
    state, pairs = solve(operator, wanted)
    assert is_converged(pairs, state, 1e-3).tolist() == [True, True, False]


def test_a_search_that_spans_the_whole_space_ends_with_the_exact_values() -> None:
    """At a loose tolerance inexact pairs are locked; where nothing is left to search, the result is exact again."""
    spectrum = np.linspace(-1, 3, 12) ** 3
    operator = symmetric(spectrum)
    rough = solve(operator, WantedPairs(3, tol=0.3, confirm=0))[1]
    state, pairs = solve(operator, WantedPairs(3, tol=0.3, confirm=100))
    assert np.abs(rough.values - spectrum[::-1][:3]).max() > 1e-6
    assert state.exhausted
    assert np.allclose(pairs.values, spectrum[::-1][:3], atol=1e-12)


class TestRefined:
    """A locked pair (5, residual 0.1) and a new one (7) that leaks into it by 0.1: exactly [[5, 0.1], [0.1, 7]]."""

    @pytest.fixture
    def state(self) -> LanczosState:
        nothing = np.zeros((0, 2))
        return LanczosState(
            basis=torch.eye(6, dtype=torch.float64),
            locked_values=np.array([5.0]),
            locked_residuals=np.array([0.1]),
            projected=np.array([[7.0]]),
            coupling=np.array([[0.0]]),
            leakage=np.array([[0.1]]),
            rounding=0.0,
            scale=7.0,
            products=3,
            block=1,
            cycle=1,
            cycle_products=1,
            search_products=2,
            value_history=nothing,
            residual_history=nothing,
        )

    def test_pairs_that_are_locked_together_are_solved_together(self, state: LanczosState) -> None:
        wanted = WantedPairs(2)
        pairs = rayleigh_ritz(ritz_pairs(state, wanted), state, wanted)
        assert np.allclose(pairs.values, 6 + np.sqrt(1.01) * np.array([1, -1]), rtol=1e-14)
        assert pairs.own.tolist() == [True, False]
        assert np.abs(pairs.residuals).max() < 1e-7  # the square root of rounding

    def test_what_leaks_into_a_pair_that_is_dropped_stays_a_residual(self, state: LanczosState) -> None:
        wanted = WantedPairs(1)
        pairs = rayleigh_ritz(ritz_pairs(state, wanted), state, wanted)
        assert pairs.values.tolist() == [7.0]
        assert pairs.residuals == pytest.approx([0.1])


def state_of(
    projected: np.ndarray, coupling: np.ndarray, locked: list[tuple[float, float]] | None = None
) -> LanczosState:
    """A state of six parameters, with locked values and their residuals, from which nothing leaks."""
    known = np.array(locked or []).reshape(-1, 2)
    count, active = len(known), len(projected)
    return LanczosState(
        basis=torch.eye(6, dtype=torch.float64),
        locked_values=known[:, 0],
        locked_residuals=known[:, 1],
        projected=projected,
        coupling=coupling,
        leakage=np.zeros((count, active)),
        rounding=0.0,
        scale=1.0,
        products=active,
        block=1,
        cycle=int(count > 0),
        cycle_products=active,
        search_products=active * (count > 0),
        value_history=np.zeros((0, 2)),
        residual_history=np.zeros((0, 2)),
    )


def test_a_gap_counts_only_beyond_the_neighbor_s_own_residual() -> None:
    """Two values closer than their residuals: r^2 / gap would promise more than is known."""
    state = state_of(np.diag([1.0, 1.2]), np.array([[0.1], [0.19]]))
    bounds = error_bounds(ritz_pairs(state, WantedPairs(2)), state, WantedPairs(2))  # ranked from the largest down
    assert bounds[1] == pytest.approx(0.1)  # not 0.1^2 / 0.2
    assert bounds[0] == pytest.approx(0.19)


@pytest.mark.parametrize(
    ("other", "residual", "bound"),
    [(0.5, 1e-5, 1e-6), (0.9995, 1e-5, 1e-3), (0.9, 0.02, 1e-3), (0.9, 1e-3, 1e-6)],
    ids=["far", "copy", "open", "excluded"],
)
def test_the_tolerance_is_the_bound_unless_a_neighbor_is_excluded(other: float, residual: float, bound: float) -> None:
    """A locked value 1 beside the best one of the search, at a tolerance of 1e-3."""
    state = state_of(np.array([[other]]), np.array([[residual]]), locked=[(1.0, 1e-5)])
    wanted = WantedPairs(1)
    found = error_bounds(ritz_pairs(state, wanted), state, wanted)[0]
    assert (found == pytest.approx(bound)) if bound == 1e-3 else (found < bound)


def test_giving_up_returns_what_is_known() -> None:
    wanted = WantedPairs(5)
    state, pairs = solve(symmetric(np.linspace(0, 1, 100)), wanted, max_products=7)
    assert state.products == 7
    assert not finished(state, wanted)
    assert not is_converged(pairs, state, wanted.tol).all()
    assert len(pairs.values) == 5


def test_the_work_is_counted() -> None:
    operator = symmetric(SPECTRA["outliers-both-ends"])
    state, _ = solve(operator, WantedPairs(2))
    assert state.products == operator.columns == len(state.value_history)


def test_a_block_takes_fewer_passes_for_more_products() -> None:
    spectrum = np.r_[np.linspace(-1, 1, 380), 2 + np.arange(20) ** 1.5]
    alone, _ = solve(symmetric(spectrum), WantedPairs(20))
    operator = symmetric(spectrum)
    several, pairs = solve(operator, WantedPairs(20), block=4)
    assert several.products == operator.columns  # locking measures the rounding with one product
    assert len(several.value_history) < 0.6 * alone.products
    assert several.products < 2.5 * alone.products
    assert np.allclose(pairs.values, spectrum[::-1][:20], rtol=1e-6)


def test_a_block_finds_as_many_copies_in_its_first_cycle() -> None:
    operator = symmetric(np.r_[[10.0] * 3, np.linspace(-1, 1, 117)])
    alone, _ = solve(operator, WantedPairs(3, confirm=0))
    together, pairs = solve(operator, WantedPairs(3, confirm=0), block=3)
    assert np.allclose(pairs.values, 10)
    assert len(together.value_history) < 0.5 * len(alone.value_history)


@pytest.mark.parametrize("block", [1, 3])
def test_a_basis_that_is_brought_over_in_chunks_is_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, wanted = symmetric(SPECTRA["outliers-both-ends"]), WantedPairs(4, "both")
    together, expected = solve(operator, wanted, max_basis=14, block=block)
    moved = []
    monkeypatch.setattr(basis, "TRANSFER_NUMBERS", 3 * operator.size)
    monkeypatch.setattr(basis, "_on_other_device", lambda rows, vectors: moved.append(len(rows)) or True)
    for state in lanczos(operator, wanted, max_basis=14, max_products=1000, block=block, spill=True):
        rows = state.basis[: state.used]
        assert float((rows @ rows.T - torch.eye(len(rows))).abs().max()) <= 50 * EPS[torch.float64]
    pairs = rayleigh_ritz(ritz_pairs(state, wanted), state, wanted)
    assert np.allclose(pairs.values, expected.values, rtol=1e-12)
    assert max(moved) > 3
    assert state.products == together.products


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_a_block_larger_than_the_space_spans_it(size: int) -> None:
    spectrum = np.linspace(1, 2, size)
    state, pairs = solve(symmetric(spectrum), WantedPairs(min(3, size)), block=4)
    assert state.exhausted
    assert np.allclose(pairs.values, spectrum[::-1][:3])


def test_an_unrestarted_run_needs_no_more_products_than_arpack() -> None:
    from scipy.sparse.linalg import LinearOperator as ScipyOperator
    from scipy.sparse.linalg import eigsh

    spectrum = np.r_[np.linspace(0, 0.05, 480), np.geomspace(0.1, 3, 20)]
    operator = symmetric(spectrum)
    calls = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return operator.matrix.numpy() @ vector.ravel()

    arpack = eigsh(ScipyOperator((500, 500), matvec=product), k=10, which="LA", tol=1e-3, return_eigenvectors=False)
    state, pairs = solve(operator, WantedPairs(10, confirm=0))
    assert state.products <= calls
    assert np.allclose(pairs.values, np.sort(arpack)[::-1], rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    spectrum=st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=30),
    which=st.sampled_from(["largest", "smallest", "magnitude", "both"]),
    seed=st.integers(0, 1000),
)
def test_any_multiset_of_eigenvalues_comes_out_right(spectrum: list[float], which: Which, seed: int) -> None:
    values = np.array(spectrum)
    wanted = WantedPairs(min(4, len(values)), which)
    _, pairs = solve(symmetric(values, seed=seed), wanted, seed=seed)
    exact = values[select_eigenvalues(values, wanted.count, which)]
    assert np.allclose(np.sort(np.abs(pairs.values)), np.sort(np.abs(exact)), atol=1e-2)


MANY = np.r_[np.linspace(2, 9, 180), np.linspace(-0.5, 0.5, 420)]


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize("which", ["largest", "both"])
def test_many_pairs_are_found_with_few_dense_eigenproblems(
    which: Which, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, operator = WantedPairs(180, which), symmetric(MANY)
    solved = 0
    dense = state_module.eigh

    def counted(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal solved
        solved += 1
        return dense(matrix)

    with monkeypatch.context() as patch:
        patch.setattr(state_module, "eigh", counted)
        state, pairs = solve(operator, wanted, max_basis=600, block=block)
    values = np.sort(MANY)
    expected = values[::-1][:180] if which == "largest" else np.r_[values[::-1][:90], values[:90][::-1]]
    np.testing.assert_allclose(pairs.values, expected, atol=1e-2 * 9)
    assert is_converged(pairs, state, wanted.tol).all()
    known = np.isfinite(state.value_history).any(axis=1)
    assert known[: 128 // block].all()
    assert 0.05 < 1 - known.mean() < 0.95
    assert known[-1]
    assert solved <= known.sum() + 4  # a lock, and the end
    monkeypatch.setattr(lanczos_module, "EVERY_STEP", 10_000)
    every, _ = solve(operator, wanted, max_basis=600, block=block)
    assert np.isfinite(every.value_history).any(axis=1).all()
    assert every.products <= state.products <= every.products * (1 + 1 / 8) + 2 * block


def test_what_many_steps_found_is_known_when_products_run_out_and_when_they_are_resumed() -> None:
    wanted, operator = WantedPairs(180), symmetric(MANY)
    state, pairs = solve(operator, wanted, max_basis=600, max_products=203)
    assert state.products == 203
    assert np.isfinite(state.value_history[-1]).any()
    assert not np.isfinite(state.value_history[-2]).any()
    values, converged = latest_values(state, wanted.tol)
    np.testing.assert_array_equal(values, pairs.values)
    assert converged == is_converged(pairs, state, wanted.tol).sum()
    assert latest_values(replace(state, value_history=np.full((3, 180), np.nan)), 1e-3)[1] == 0
    states, arrays = [], {}
    for state in lanczos(operator, wanted, max_basis=600, max_products=4000):
        states.append(state)
        if len(states) == 151:  # later steps rewrite the basis
            arrays = {name: value.copy() for name, value in snapshot(state).items()}
    earlier = restore(LanczosState, arrays, operator.like)
    resumed = list(lanczos(operator, wanted, max_basis=600, max_products=4000, resume=earlier))
    assert resumed[-1].products == states[-1].products
    np.testing.assert_array_equal(resumed[-1].value_history, states[-1].value_history)


CLUSTERS = {
    "pair": (np.r_[2.5, 2.4977, 2.39, np.linspace(1.8, 0, 297)], 1),
    "close-pair": (np.r_[2.5, 2.499, 2.39, np.linspace(1.8, 0, 297)], 1),
    "pair-and-none-near": (np.r_[2.5, 2.4985, np.linspace(1.5, 0, 298)], 1),
    "three": (np.r_[2.5, 2.499, 2.498, np.linspace(1.8, 0, 297)], 1),
    "second-and-third": (np.r_[3.0, 2.5, 2.4985, np.linspace(1.8, 0, 297)], 2),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_bounds_hold_in_clusters_that_one_start_sees_as_one_value(name: str) -> None:
    """The value of a mixture of two vectors lies between theirs, and its residual does not tell."""
    spectrum, count = CLUSTERS[name]
    operator, wanted = MatrixOperator(torch.diag(torch.from_numpy(spectrum))), WantedPairs(count)
    missed = 0
    for seed in range(40):
        state, pairs = solve(operator, wanted, seed=seed)
        bounds = error_bounds(pairs, state, wanted)
        missed += bool((abs(pairs.values - spectrum[:count]) > bounds * (1 + 1e-9)).any())
        assert (bounds <= 1.5 * wanted.tol * pairs.values).all()
    assert missed <= 3  # 5 % of the starts hide it


def test_a_value_that_is_alone_keeps_its_sharp_bound() -> None:
    spectrum = np.r_[2.5, 2.3, np.linspace(1.8, 0, 298)]
    operator, wanted = MatrixOperator(torch.diag(torch.from_numpy(spectrum))), WantedPairs(1)
    for seed in range(10):
        state, pairs = solve(operator, wanted, seed=seed)
        assert error_bounds(pairs, state, wanted)[0] < 1e-4
        assert state.products <= 30


def test_two_copies_within_the_tolerance_are_taken_apart_where_the_search_found_both() -> None:
    """The exact values, though the first start gave one in between."""
    spectrum = np.r_[2.5, 2.4985, np.linspace(1.5, 0, 298)]
    operator, wanted = MatrixOperator(torch.diag(torch.from_numpy(spectrum))), WantedPairs(1)
    errors = [abs(solve(operator, wanted, seed=seed)[1].values[0] - 2.5) for seed in range(10)]
    assert sorted(errors)[7] < 1e-4
