"""The steps that a search will probably take, for its progress, where only the most that it may take are known."""

from __future__ import annotations

MORE = 1.25  # times what is done: the steps of a search that has taken more than are usual


def expected_steps(done: int, usual: int, most: int) -> int:
    """The usual number of steps, or a quarter more than are done once they have not sufficed; at most `most`."""
    return min(most, max(usual, int(MORE * done) + 1))
