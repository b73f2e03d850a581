"""What sentences about the meaning of results are made of."""

from __future__ import annotations

import pytest
from result_samples import sample_result

from landscape.analyses.shared.meaning import describe_share, is_of_hessian, percent, round_down, stored_options


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.00461, "0.46 %"), (0.5, "50 %"), (0.996, "100 %"), (1.0, "100 %"), (3.2, "320 %"), (12.5, "1,250 %")],
)
def test_shares_are_in_percent(share: float, words: str) -> None:
    assert percent(share) == words
    assert describe_share(share * 2, 2.0) == f" ({words} of it)"


@pytest.mark.parametrize("whole", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_of_what_is_not_above_0_is_not_given(whole: float) -> None:
    assert describe_share(1.0, whole) == ""


@pytest.mark.parametrize(
    ("value", "rounded"), [(1278.0, 1200.0), (0.0199, 0.019), (2.0, 2.0), (999.0, 990.0), (0.8, 0.8)]
)
def test_numbers_are_rounded_down(value: float, rounded: float) -> None:
    assert round_down(value) == pytest.approx(rounded, rel=1e-12)
    assert round_down(value) <= value


def test_the_matrix_is_known_from_the_stored_options() -> None:
    assert stored_options(sample_result()) == {}
    assert not is_of_hessian(sample_result())
    for operator, known in (("hessian", True), ("pyhessian", True), ("ggn", False)):
        assert is_of_hessian(sample_result(attributes={"options": f'{{"operator": "{operator}"}}'})) == known
