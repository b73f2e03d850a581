"""Chains as values: their sums, their random numbers, and which of them take a step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.algorithms.sampling.chains import Chains, Evaluation, begin_chains, column_sums
from landscape.algorithms.snapshots import restore, snapshot

QUARTIC, GAMMA = 3.0, 0.7


def quartic(positions: Tensor, step: int) -> Evaluation:
    """Phi = 3 sum x^4, whose gradient is 12 x^3; the number of the step is added, to be seen."""
    return Evaluation(QUARTIC * column_sums(positions**4) + step, 4 * QUARTIC * positions**3)


def chains_at(positions: Tensor) -> Chains:
    return begin_chains(quartic, positions, GAMMA, log_step=-2.0)


def test_chains_begin_with_one_evaluation_at_step_0() -> None:
    positions = torch.tensor([[1.0, -2.0], [0.0, 1.0]], dtype=torch.float64)
    chains = chains_at(positions)
    assert chains.value.tolist() == [3.0, 51.0]
    assert torch.equal(chains.gradient, 12 * positions**3)
    assert (chains.steps, chains.evaluations) == (0, 1)
    assert chains.mean_log_step == chains.log_step == -2.0
    assert chains.squared_gradient.tolist() == [144.0, 96.0**2 + 144.0]


def test_the_mean_of_the_work_is_the_dimension() -> None:
    """E[x U'(x)] = 1 in one dimension for every U that grows, by quadrature under exp(-U)."""
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)[None]
    chains = chains_at(grid)
    density = np.exp(-chains.value - GAMMA / 2 * grid[0].numpy() ** 2)
    assert float((density * chains.work).sum() / density.sum()) == pytest.approx(1, rel=1e-10)


def test_sums_over_coordinates_are_in_float64() -> None:
    products = torch.tensor([[2.0**24], [1.0], [1.0]])  # in float32 the ones are lost, one after the other
    assert column_sums(products).tolist() == [2.0**24 + 2]
    assert column_sums(products).dtype == np.float64


def test_a_chain_s_numbers_do_not_depend_on_how_many_chains_there_are() -> None:
    two, three = (chains_at(torch.zeros(5, count, dtype=torch.float64)).noise(3, "all") for count in (2, 3))
    assert torch.equal(two, three[:, :2])
    assert two.dtype == torch.float64


@pytest.mark.parametrize(
    ("seed", "name", "steps"), [(4, "all", 0), (3, "layer", 0), (3, "all", 1)], ids=["seed", "group", "step"]
)
def test_numbers_are_others_for_another_seed_group_or_step(seed: int, name: str, steps: int) -> None:
    chains = chains_at(torch.zeros(5, 2))
    first, other = chains.noise(3, "all"), replace(chains, steps=steps).noise(seed, name)
    assert torch.equal(first, chains.noise(3, "all"))
    assert not (first == other).any()
    assert not torch.equal(first[:, 0], first[:, 1])


def test_only_chains_that_accept_move() -> None:
    before = chains_at(torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]))
    there = before.positions + 1
    after = before.accept(np.array([True, False, True]), there, quartic(there, 9), evaluations=4)
    assert after.positions.tolist() == [[2.0, 1.0, 2.0], [3.0, 2.0, 3.0]]
    assert after.value.tolist() == [3 * 97.0 + 9, 3 * 17.0, 3 * 97.0 + 9]
    assert torch.equal(after.gradient, 12 * after.positions**3)
    assert (after.steps, after.evaluations) == (1, 5)
    assert before.steps == 0


def test_a_proposal_that_is_not_finite_leaves_no_trace_in_chains_that_refuse_it() -> None:
    before = chains_at(torch.ones(2, 2))
    broken = torch.full((2, 2), torch.nan)
    after = before.accept(np.array([False, False]), broken, quartic(broken, 1), evaluations=1)
    assert torch.equal(after.positions, before.positions)
    assert np.array_equal(after.value, before.value)
    assert np.isfinite(after.work).all()


def test_a_snapshot_gives_the_same_chains() -> None:
    chains = chains_at(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    again = restore(Chains, snapshot(chains), chains.positions)
    assert torch.equal(again.positions, chains.positions)
    assert torch.equal(again.gradient, chains.gradient)
    assert np.array_equal(again.work, chains.work)
    assert torch.equal(again.noise(1, "all"), chains.noise(1, "all"))
