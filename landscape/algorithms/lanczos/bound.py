"""The bound of Kuczynski and Wozniakowski (1992, theorem 4.2) on what a random start misses.

After s Lanczos steps from a uniformly random start in n dimensions, the largest Ritz value lies below the largest
eigenvalue by more than eps times the width of the spectrum with probability at most
1.648 sqrt(n) exp(-sqrt(eps) (2 s - 1)). By symmetry the same holds at the lower end.
"""

from __future__ import annotations

import math

ENDS = 2  # both ends' bounds are used, each of which may fail


def failure(size: int, gap: float, steps: int) -> float:
    """The probability that s steps in `size` dimensions miss either end by more than the gap, at most."""
    return min(1.0, ENDS * 1.648 * math.sqrt(size) * math.exp(-math.sqrt(gap) * (2 * steps - 1)))


def steps_needed(size: int, gap: float, probability: float) -> int:
    """The steps after which that probability is at most the one given."""
    exponent = math.log(ENDS * 1.648 * math.sqrt(size) / probability)
    return max(1, math.ceil((exponent / math.sqrt(gap) + 1) / 2))
