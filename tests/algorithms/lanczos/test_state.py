"""A run as a value: the relation A Q = Q T + N C' + L B holds after every step, and its counts add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import symmetric

from landscape.algorithms.lanczos.lanczos import lanczos
from landscape.algorithms.lanczos.state import ROUNDING_SPREAD, WantedPairs

SPECTRUM = np.concatenate([[10.0, 10.0, 6.0, 3.0], np.linspace(-1, 1, 56)])


@pytest.mark.parametrize("block", [1, 2])
def test_the_relation_of_basis_and_matrices_holds_after_every_step(block: int) -> None:
    operator, wanted = symmetric(SPECTRUM), WantedPairs(3, tol=1e-6)
    cycles = set()
    for state in lanczos(operator, wanted, max_basis=12, max_products=200, block=block):
        locked, used = state.locked, state.used
        rows = state.basis[:used]
        active, following = rows[locked : locked + state.active], rows[locked + state.active :]
        left = active @ operator.matrix
        right = torch.from_numpy(state.projected).T @ active
        right = right + torch.from_numpy(state.coupling) @ following
        right = right + torch.from_numpy(state.leakage).T @ rows[:locked]
        assert torch.allclose(left, right, atol=1e-9)
        assert torch.allclose(rows @ rows.T, torch.eye(used, dtype=torch.float64), atol=1e-10)
        cycles.add(state.cycle)
    assert len(cycles) > 1  # locked vectors were among them


def test_counts_add_up() -> None:
    operator = symmetric(SPECTRUM)
    states = list(lanczos(operator, WantedPairs(3, tol=1e-6), max_basis=20, max_products=200))
    assert [state.products for state in states] == list(range(1, len(states) + 1))
    end = states[-1]
    assert operator.columns == end.products
    first_cycle = sum(state.cycle == 0 for state in states)
    assert end.search_products == end.products - first_cycle
    assert end.search_passes == end.search_products  # blocks of one
    assert len(end.value_history) == len(states)


def test_noise_is_the_floor_or_the_measured_rounding() -> None:
    *_, state = lanczos(symmetric(SPECTRUM), WantedPairs(1, tol=1e-6), max_basis=20, max_products=60)
    assert state.noise == max(state.floor, ROUNDING_SPREAD * state.rounding)
    assert state.floor == pytest.approx(10 * 2.0**-52 * state.scale)
