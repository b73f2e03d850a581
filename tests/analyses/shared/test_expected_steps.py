"""The steps that a search will probably take."""

from __future__ import annotations

import pytest

from landscape.analyses.shared.expected_steps import expected_steps


@pytest.mark.parametrize(
    ("done", "steps"), [(0, 40), (31, 40), (32, 41), (100, 126), (159, 199), (160, 200), (200, 200)]
)
def test_a_search_is_never_at_its_end_before_it_has_done_the_most_that_it_may(done: int, steps: int) -> None:
    assert expected_steps(done, 40, 200) == steps
