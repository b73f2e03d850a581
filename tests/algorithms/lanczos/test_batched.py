"""Lockstep Lanczos against its defining identity, moments, and designed spectra."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric

from landscape import seeds
from landscape.algorithms.lanczos.batched import BatchedLanczosState, batched_lanczos, quadrature_rules
from landscape.algorithms.snapshots import restore, snapshot
from landscape.errors import NumericalError
from landscape.network.space import ParameterBlock, ParameterGroup, ParameterSpace

WHOLE = ParameterGroup("all", ("w",), ((0, 60),))
SPECTRUM = np.concatenate([np.linspace(-1, 1, 40), np.full(15, 2.0), [5.0, 6.0, 8.0, -3.0, 0.0]])


def run(operator: MatrixOperator, groups: list[ParameterGroup], **options: int) -> BatchedLanczosState:
    chosen = {"probes": 3, "steps": 20, "probes_per_pass": 3, **options}
    return last(batched_lanczos(operator, groups, **chosen))  # type: ignore[arg-type]


def start(operator: MatrixOperator, probe: int) -> torch.Tensor:
    vector = seeds.normal(operator.size, operator.like, 0, "probe", probe)
    return vector / vector.norm()


def test_a_rule_integrates_polynomials_of_degree_2m_minus_1_exactly() -> None:
    operator = symmetric(SPECTRUM)
    state = run(operator, [WHOLE], steps=6)
    (rule,) = quadrature_rules(state, [WHOLE])
    for probe in range(3):
        vector = power = start(operator, probe)
        for degree in range(12):
            moment = float((rule.weights[probe] * rule.nodes[probe] ** degree).sum())
            assert moment == pytest.approx(float(vector @ power), rel=1e-10), degree
            power = operator.matrix @ power
    assert np.allclose(rule.weights.sum(axis=1), 1, atol=1e-14)


def test_the_basis_is_orthonormal_and_makes_the_matrix_tridiagonal() -> None:
    operator = symmetric(SPECTRUM)
    states = list(batched_lanczos(operator, [WHOLE], probes=2, steps=24, probes_per_pass=2))
    state = states[-2]
    for probe in range(2):
        rows = state.basis[probe, : state.step]
        assert torch.allclose(rows @ rows.T, torch.eye(state.step, dtype=rows.dtype), atol=1e-13)
        tridiagonal = rows @ operator.matrix @ rows.T
        beta = state.beta[probe, 0, : state.step - 1]
        expected = np.diag(state.alpha[probe, 0, : state.step]) + np.diag(beta, 1) + np.diag(beta, -1)
        assert np.allclose(tridiagonal.numpy(), expected, atol=1e-12)


def test_residuals_are_those_of_the_ritz_vectors() -> None:
    operator = symmetric(SPECTRUM)
    states = list(batched_lanczos(operator, [WHOLE], probes=1, steps=9, probes_per_pass=1))
    rows = states[-2].basis[0, :8]
    values, vectors = np.linalg.eigh((rows @ operator.matrix @ rows.T).numpy())
    ritz = torch.from_numpy(vectors).T @ rows
    true = (ritz @ operator.matrix - torch.from_numpy(values)[:, None] * ritz).norm(dim=1)
    (rule,) = quadrature_rules(states[-2], [WHOLE])
    assert np.allclose(rule.residuals[0, :8], true.numpy(), atol=1e-12)


def test_few_distinct_eigenvalues_end_a_run_with_their_shares() -> None:
    """Three delta functions: all weight is on three nodes, and a diagonal matrix ends its runs after three steps."""
    values = np.array([-1.0] * 10 + [2.0] * 30 + [7.0] * 20)
    for operator in (symmetric(values), MatrixOperator(torch.diag(torch.from_numpy(values)))):
        state = run(operator, [WHOLE], probes=40, probes_per_pass=16)
        (rule,) = quadrature_rules(state, [WHOLE])
        near = np.abs(rule.nodes[:, :, None] - [-1.0, 2.0, 7.0]) < 1e-9
        shares = (rule.weights[:, :, None] * near).sum(axis=1)
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-12)
        error = shares.std(axis=0) / 40**0.5
        assert (np.abs(shares.mean(axis=0) - [1 / 6, 1 / 2, 1 / 3]) < 4 * error).all()
    assert state.products == 40 * 3
    assert np.isnan(rule.nodes[:, 3:]).all()


def test_a_zero_matrix_is_one_delta_function_at_zero() -> None:
    state = run(MatrixOperator(torch.zeros(60, 60)), [WHOLE])
    (rule,) = quadrature_rules(state, [WHOLE])
    assert (rule.nodes[:, 0] == 0).all()
    assert (rule.weights[:, 0] == 1).all()


def test_as_many_steps_as_parameters_give_the_spectrum_itself() -> None:
    operator = symmetric(np.linspace(1, 60, 60) ** 2)
    (rule,) = quadrature_rules(run(operator, [WHOLE], steps=60), [WHOLE])
    assert np.allclose(rule.nodes[0], np.linspace(1, 60, 60) ** 2, rtol=1e-9)
    assert (rule.residuals[0] == 0).all()


def test_groups_are_runs_of_their_own() -> None:
    """A block-diagonal matrix, its second block in two pieces, against each block by itself."""
    space = ParameterSpace((ParameterBlock("a.w", (20,)), ParameterBlock("b.w", (25,)), ParameterBlock("a.b", (15,))))
    groups = space.layers()
    assert [(g.name, g.ranges) for g in groups] == [("a", ((0, 20), (45, 60))), ("b", ((20, 45),))]
    blocks = [symmetric(np.linspace(-2, 9, group.size), seed=k).matrix for k, group in enumerate(groups)]
    matrix = torch.zeros(60, 60, dtype=torch.float64)
    for group, block in zip(groups, blocks, strict=True):
        place = torch.cat([torch.arange(*piece) for piece in group.ranges])
        matrix[place[:, None], place] = block
    shared = quadrature_rules(run(MatrixOperator(matrix), list(groups), probes=2, probes_per_pass=1), groups)
    whole = seeds.normal(60, matrix, 0, "probe", 1)
    for group, block, rule in zip(groups, blocks, shared, strict=True):
        place = torch.cat([torch.arange(*piece) for piece in group.ranges])
        vector = whole[place] / whole[place].norm()
        power = vector
        for degree in range(20):
            moment = float((rule.weights[1] * rule.nodes[1] ** degree).sum())
            assert moment == pytest.approx(float(vector @ power), rel=1e-9), (group.name, degree)
            power = block @ power


def test_small_groups_end_while_others_go_on() -> None:
    space = ParameterSpace((ParameterBlock("a.w", (3,)), ParameterBlock("b.w", (57,))))
    matrix = torch.block_diag(symmetric([1.0, 2.0, 4.0]).matrix, symmetric(np.linspace(0, 1, 57)).matrix)
    small, large = quadrature_rules(run(MatrixOperator(matrix), list(space.layers())), space.layers())
    assert np.allclose(small.nodes[:, :3], [1, 2, 4], atol=1e-12)
    assert np.isnan(small.nodes[:, 3:]).all()
    assert np.isfinite(large.nodes).all()


@pytest.mark.parametrize("probes_per_pass", [1, 2, 4, 9])
def test_how_many_probes_share_a_pass_changes_nothing(probes_per_pass: int) -> None:
    operator = symmetric(SPECTRUM)
    alone = run(operator, [WHOLE], probes=5, probes_per_pass=5)
    state = run(operator, [WHOLE], probes=5, probes_per_pass=probes_per_pass)
    assert np.allclose(state.alpha, alone.alpha, atol=1e-10)
    assert state.products == 5 * 20


def test_resuming_anywhere_gives_the_same_coefficients() -> None:
    operator = symmetric(SPECTRUM)
    states = [
        {name: values.copy() for name, values in snapshot(state).items()}
        for state in batched_lanczos(operator, [WHOLE], probes=3, steps=7, probes_per_pass=2)
    ]
    assert len(states) == 14
    for earlier, _ in pairwise(states):
        resumed = restore(BatchedLanczosState, earlier, operator.like)
        state = last(batched_lanczos(operator, [WHOLE], probes=3, steps=7, probes_per_pass=2, resume=resumed))
        assert np.array_equal(state.alpha, states[-1]["alpha"])
        assert np.array_equal(state.beta, states[-1]["beta"])
        assert state.products == states[-1]["products"]


def test_float32_vectors_keep_the_nodes_to_float32() -> None:
    exact = quadrature_rules(run(symmetric(SPECTRUM), [WHOLE], steps=30), [WHOLE])[0]
    single = quadrature_rules(run(symmetric(SPECTRUM, dtype=torch.float32), [WHOLE], steps=30), [WHOLE])[0]
    for power in (1, 2, 3):
        one, two = ((r.weights * np.nan_to_num(r.nodes) ** power).sum(axis=1) for r in (exact, single))
        assert np.allclose(one, two, rtol=1e-5)


def test_a_product_that_is_not_finite_is_an_error() -> None:
    matrix = symmetric(SPECTRUM).matrix.clone()
    matrix[3, 3] = torch.nan
    with pytest.raises(NumericalError, match="not finite"):
        run(MatrixOperator(matrix), [WHOLE])


def test_a_basis_that_holds_nan_does_not_read_as_an_invariant_subspace() -> None:
    running = batched_lanczos(symmetric(SPECTRUM), [WHOLE], probes=2, steps=8, probes_per_pass=2)
    next(running).basis[:, 0] = torch.nan
    with pytest.raises(NumericalError, match="not finite"):
        last(running)


def test_float32_bases_stay_orthonormal_over_many_steps() -> None:
    """Converged outliers make plain Lanczos lose it at once; one pass of Gram-Schmidt leaves 1e-4 of it."""
    spectrum = np.concatenate([10.0 ** np.arange(3, -3, -1), np.geomspace(1e-6, 1e-3, 54)])
    operator = symmetric(spectrum, dtype=torch.float32)
    *_, state, _ = batched_lanczos(operator, [WHOLE], probes=2, steps=40, probes_per_pass=2)
    for rows in state.basis[:, : state.step].double():
        assert float((rows @ rows.T - torch.eye(state.step)).abs().max()) < 2e-6
