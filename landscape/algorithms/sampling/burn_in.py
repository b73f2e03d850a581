"""How many first draws are discarded: the marginal standard error rule (MSER, White 1997)."""

from __future__ import annotations

import numpy as np

from landscape.algorithms.sampling.convergence import normal_scores

MOST_SHARE = 0.5  # of the draws that may be discarded: a later minimum has too few draws behind it to mean anything
# Of the least squared error, that is given away for earlier draws: where chains are settled a minimum lies at any cut,
# and would leave out excursions that belong to the distribution because they came early.
SLACK = 1.2
BATCH = 5  # consecutive draws whose mean is one observation (MSER-5, White, Cobb and Spratt 2000)


def burn_in(chains: np.ndarray) -> int:
    """The number of first draws to discard of every chain `(m, n)`, at most half of them.

    Draws are replaced by the normal scores of their ranks, or a few large ones would decide. The squared error behind a
    cut is the sum of squares of the scores of all chains about their common mean, divided by the square of their
    number. The first cut is taken whose error is about as small as the least one: to cut off how chains come from far
    away pays, to cut settled chains does not.
    """
    observations = chains.shape[1] // BATCH
    scores = normal_scores(chains)[:, : observations * BATCH]
    batched = scores.reshape(len(chains), observations, BATCH).mean(axis=2)
    left = np.arange(observations, 0, -1) * len(chains)  # observations behind each cut
    sums, squares = (np.cumsum(part.sum(axis=0)[::-1])[::-1] for part in (batched, batched**2))
    cuts = int(MOST_SHARE * observations) + 1
    error = (squares - sums**2 / left)[:cuts] / left[:cuts] ** 2
    return int(np.argmax(error <= SLACK * np.min(error))) * BATCH
