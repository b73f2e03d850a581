"""Numbers as they are printed: rounded to their errors, shares in percent, and said where they are not determined."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.analyses.numbers import is_standard_error, number, with_error


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (19.4456, 0.317569, "19.45 ± 0.32"),
        (3.24618322, 3.147e-06, "3.2461832 ± 3.1e-06"),
        (0.019238, 0.000219887, "0.01924 ± 0.00022"),
        (22.4821, 2.63506, "22.5 ± 2.6"),
        (1500.0, 230.0, "1500 ± 230"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (2.5e-09, 3e-11, "(2.500 ± 0.030)e-09"),
        (-0.5, 0.1, "-0.50 ± 0.10"),
        (3.2, 1e-13, "3.2000000 ± 1e-13"),
    ],
)
def test_a_number_is_rounded_to_the_two_digits_of_its_error(value: float, error: float, written: str) -> None:
    assert with_error(value, error) == written


@pytest.mark.parametrize("error", [0.7, 0.3])
def test_a_number_that_its_standard_error_hides_is_not_determined(error: float) -> None:
    assert with_error(0.3, error).endswith(f"{error:.2f} (not determined)")
    assert with_error(-0.3, error).endswith("(not determined)")
    assert "not determined" not in with_error(0.3, error, bound=True)


@pytest.mark.parametrize("error", [None, 0.0, float("nan")])
def test_without_an_error_a_number_has_four_digits(error: float | None) -> None:
    assert with_error(0.0666694, error) == "0.06667"


def test_shares_are_in_percent() -> None:
    assert with_error(0.21, 0.05, percent=True) == "21.0 ± 5.0 %"
    assert with_error(0.21, 0.56, percent=True) == "21 ± 56 % (not determined)"
    assert number(0.1234567, percent=True) == "12.35 %"
    assert number(float("nan"), percent=True) == "nan"


@pytest.mark.parametrize(
    ("value", "written"),
    [(True, "yes"), (np.bool_(False), "no"), (1234567, "1,234,567"), ("xtrace", "xtrace"), (np.float32(0.5), "0.5")],
    ids=["yes", "no", "count", "word", "float32"],
)
def test_other_values_are_written_as_they_are(value: object, written: str) -> None:
    assert number(value) == written


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12))
def test_what_is_written_is_within_the_error_s_last_digit(value: float, error: float) -> None:
    """The printed value is off by at most a twentieth of the error, or by its eighth digit."""
    numbers = [
        float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", with_error(value, error).replace(")e", " e"))
    ]
    text = with_error(value, error)
    scale = float(f"1{text[text.index(')e') + 1 :].split()[0]}") if ")e" in text else 1.0
    assert abs(numbers[0] * scale - value) <= 0.0501 * error + 1e-7 * max(abs(value), error)
    assert numbers[1] * scale == pytest.approx(error, rel=0.051)


def test_standard_errors_are_told_from_bounds_by_their_names() -> None:
    assert all(map(is_standard_error, ("llc_se", "standard_error", "layer_standard_error", "data_standard_errors")))
    assert not any(map(is_standard_error, ("", "residuals", "error_bounds", "layer_residual")))


def test_an_infinite_error_is_no_missing_one() -> None:
    """Such as that of a step without an upper end: the number is the least certain of all."""
    assert with_error(18.6355, float("inf")) == "18.64 ± inf (not determined)"
    assert with_error(0.25, float("inf"), percent=True) == "25 % ± inf (not determined)"
