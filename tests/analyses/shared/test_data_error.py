"""The text of --data-error, and when the error that it asks for is reached."""

from __future__ import annotations

import math
from typing import Any

import pytest

from landscape import Eig, Trace
from landscape.analyses.shared.data_error import describe_samples, misses_target, parse_share, relative_error
from landscape.errors import UsageError


@pytest.mark.parametrize(
    ("text", "share"),
    [("5%", 0.05), ("5 %", 0.05), (" .05 ", 0.05), (0.05, 0.05), ("1e-3", 0.001), ("0.1%", 0.001), ("99.9%", 0.999)],
)
def test_a_share_is_a_percentage_or_a_number(text: Any, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["0", "0%", "-5%", "100%", "200%", "1", "abc", "", "5%%", "1.2.3", ".", "nan", "inf", "5 percent", 5, True]
)
def test_what_is_no_share_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match=r"--data-error is (?s:.*)e\.g\. --data-error 5% or --data-error 0\.05"):
        Eig(data_error=text)


def test_spellings_of_one_share_are_one_option() -> None:
    assert Eig(data_error="0.05") == Eig(data_error="5 %")
    assert Trace(data_error=0.05).identity() == Trace(data_error="5%").identity()


def test_the_error_contains_the_standard_error_and_the_bias() -> None:
    assert relative_error(0.3, -0.4, -2.0) == pytest.approx(0.25)
    assert math.isnan(relative_error(0.3, 0.4, 0.0))


def test_an_error_that_is_not_known_is_missed() -> None:
    assert misses_target(math.nan, 0.05)
    assert misses_target(None, 0.05)
    assert misses_target(0.053, 0.05)
    assert not misses_target(0.05, 0.05)
    assert not misses_target(None, None)


def test_the_sentence_says_how_many_samples_there_were() -> None:
    assert describe_samples(0.041, 0.05, 64, 300) == (
        "error by the data 4.1 % with 64 of 300 samples, 5 % was asked for"
    )
    assert "not known with all 300 samples" in describe_samples(math.nan, 0.05, 300, 300)
