"""The search for eigenpairs on a part of the data: with a small basis, and without a second start."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from landscape.algorithms.lanczos import lanczos
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.eig_basis import MIN_ROWS

if TYPE_CHECKING:
    from landscape.analyses.eig import Eig
    from landscape.operators import LinearOperator


def search_part(
    analysis: Eig, operator: LinearOperator, wanted: WantedPairs, note: str, saved: State
) -> Generator[Progress, None, LanczosState]:
    """Yields after each product, with the note; returns the last state.

    The basis is small, beside that of the search on all data, which is still held.
    """
    state = earlier = restore(LanczosState, saved, operator.like) if saved else None
    for state in lanczos.lanczos(
        operator,
        wanted,
        seed=analysis.seed,
        max_basis=min(MIN_ROWS[0] * wanted.count + MIN_ROWS[1], operator.size),
        max_products=analysis.max_products,
        resume=earlier,
    ):
        yield Progress(wanted.count, wanted.count, f"{note}, {state.products} products", partial(snapshot, state))
    assert state is not None  # max_products >= 1
    return state
