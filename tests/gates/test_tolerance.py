"""Tolerances are what people type, and no sign of a baseline turns them round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import UsageError
from landscape.gates.tolerance import ZERO_BASELINE_TOLERANCE, Tolerance

amounts = st.floats(0, 1e6, allow_nan=False, allow_subnormal=False)


@given(share=amounts, absolute=amounts)
def test_a_tolerance_is_read_from_what_it_is_written_as(share: float, absolute: float) -> None:
    written = Tolerance(share, absolute)
    again = Tolerance.parse(str(written))
    assert again.share == pytest.approx(share, rel=1e-11)
    assert again.absolute == absolute


@pytest.mark.parametrize(
    ("text", "share", "absolute"),
    [("1%", 0.01, 0), ("2.5 %", 0.025, 0), ("0.05 abs", 0, 0.05), ("1% or 1e-3 abs", 0.01, 1e-3), ("0%", 0, 0)],
)
def test_what_people_type_is_understood(text: str, share: float, absolute: float) -> None:
    assert Tolerance.parse(text) == Tolerance(share, absolute)


@pytest.mark.parametrize(
    "text",
    ["", "1", "0.01", "1 percent", "-1%", "nan%", "inf%", "1e999%", "1% or 2%", "1%%", "abs", "1..2%", 0.01, None],
)
def test_what_could_mean_several_things_is_refused_with_examples(text: object) -> None:
    with pytest.raises(UsageError, match="is not understood") as caught:
        Tolerance.parse(text)
    assert "0.05 abs" in caught.value.fix


def test_the_amount_is_a_share_of_the_size_whatever_the_sign() -> None:
    assert Tolerance(0.1).of(2.0) == Tolerance(0.1).of(-2.0) == pytest.approx(0.2)


def test_the_larger_of_share_and_amount_holds() -> None:
    both = Tolerance(0.1, 0.5)
    assert both.of(100.0) == pytest.approx(10.0)
    assert both.of(1.0) == 0.5


def test_a_baseline_of_zero_has_an_absolute_floor_and_no_other_has() -> None:
    assert Tolerance(0.1).of(0.0) == ZERO_BASELINE_TOLERANCE
    assert Tolerance(0.1, 0.5).of(0.0) == 0.5
    assert Tolerance(0.0).of(1e-9) == 0.0
