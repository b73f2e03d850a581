"""The leading pairs of several blocks at once: every copy, both ends, small blocks wholly, residuals that bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, last, symmetric

from landscape.algorithms.lanczos.per_block import BlockSearchState, block_lanczos_search, current_pairs
from landscape.algorithms.lanczos.selection import Which, select_eigenvalues
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.algorithms.snapshots import restore, snapshot
from landscape.network.space import ParameterBlock, ParameterSpace

SPACE = ParameterSpace((ParameterBlock("a.w", (5,)), ParameterBlock("b.w", (60,)), ParameterBlock("c.w", (40,))))
SPECTRA = {
    "a": np.array([-3.0, -2.0, -2.0, -1.0, -0.5]),  # smaller than what is wanted, and below zero throughout
    "b": np.concatenate([[5.0] * 4, [4.0, 3.0], np.linspace(-1, 1, 54)]),
    "c": -np.geomspace(0.1, 7, 40),
}


def matrix(dtype: torch.dtype = torch.float64) -> MatrixOperator:
    parts = [symmetric(spectrum, seed=k).matrix for k, spectrum in enumerate(SPECTRA.values())]
    return MatrixOperator(torch.block_diag(*parts).to(dtype))


def run(operator: MatrixOperator, wanted: WantedPairs, **options: int) -> BlockSearchState:
    chosen = {"steps": 60, "most": 2000, "seed": 0, **options}
    return last(block_lanczos_search(operator, SPACE.layers(), wanted, **chosen))  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude", "both"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_block_has_its_wanted_values(which: Which, dtype: torch.dtype) -> None:
    wanted = WantedPairs(7, which)
    state = run(matrix(dtype), wanted)
    assert state.converged.all()
    assert state.finished
    for spectrum, values in zip(SPECTRA.values(), state.values, strict=True):
        expected = spectrum[select_eigenvalues(spectrum, 7, which)]
        assert np.allclose(np.sort(values[np.isfinite(values)]), np.sort(expected), rtol=1e-4, atol=1e-5)


def test_residuals_bound_those_of_the_locked_vectors() -> None:
    operator, wanted = matrix(), WantedPairs(6, tol=0.05)
    state = run(operator, wanted)
    for index, group in enumerate(SPACE.layers()):
        ((begin, end),) = group.ranges
        block, rows = operator.matrix[begin:end, begin:end], state.locked[:, begin:end]
        for value, bound, row in zip(state.values[index], state.residuals[index], rows, strict=True):
            if np.isfinite(value):
                assert float(row.norm()) == pytest.approx(1)
                assert float((block @ row - value * row).norm()) <= bound + 1e-9
        held = rows[np.isfinite(state.values[index])]
        assert torch.allclose(held @ held.T, torch.eye(len(held), dtype=torch.float64), atol=1e-9)


def test_the_limit_on_passes_leaves_candidates_and_can_be_raised() -> None:
    operator, wanted = matrix(), WantedPairs(3)
    cut = run(operator, wanted, most=6)
    assert (cut.passes, cut.finished) == (6, False)
    values, _ = current_pairs(cut, SPACE.layers(), wanted)
    assert np.isfinite(values).all()
    resumed = restore(BlockSearchState, snapshot(cut), operator.like)
    options = {"steps": 60, "most": 2000, "seed": 0}
    on = last(block_lanczos_search(operator, SPACE.layers(), wanted, resume=resumed, **options))  # type: ignore[arg-type]
    assert np.array_equal(on.values, run(operator, wanted).values)
