"""Options of the scale of weights, radii in the forms that users give, and remarks on maxima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landscape import Flatness, Sharpness
from landscape.analyses.neighborhood.perturbation import (
    WeightScaling,
    agreement_remark,
    multimodal_reason,
    parse_globs,
    parse_radii,
    rounding_remark,
    scaling_title,
    slope_remark,
)
from landscape.errors import UsageError


@pytest.mark.parametrize(
    ("radii", "numbers"),
    [(0.5, (0.5,)), ((1, 0.5), (1.0, 0.5)), (np.array([0.25, 0.5]), (0.25, 0.5)), ((), ())],
    ids=["number", "tuple", "array", "none"],
)
def test_one_radius_or_several_are_floats(radii: Any, numbers: tuple[float, ...]) -> None:
    parsed = parse_radii(radii, "--rho")
    assert parsed == numbers
    assert all(type(radius) is float for radius in parsed)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("inf"), float("nan")], ids=str)
def test_a_radius_that_is_no_length_is_refused(radius: float) -> None:
    with pytest.raises(UsageError, match=f"--rho is {radius:g}"):
        parse_radii((0.1, radius), "--rho")


def test_a_text_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="--rho is 'wide'"):
        parse_radii("wide", "--rho")


def test_one_glob_is_not_taken_apart_into_letters() -> None:
    assert parse_globs("*.bias") == ("*.bias",)
    assert parse_globs(["*.bias", "0.*"]) == ("*.bias", "0.*")


def test_options_of_a_scale_need_a_scale() -> None:
    assert WeightScaling("element", 0.1, ("*.bias",), ()).adaptive_eta == 0.1
    for eta, unscaled in ((0.1, ()), (0.0, ("*.bias",))):
        with pytest.raises(UsageError, match="--adaptive none does not scale them"):
            WeightScaling("none", eta, unscaled, ())


def test_the_identity_holds_what_is_measured_in_whatever_form_it_was_given() -> None:
    one, other = Sharpness(), Sharpness(norm="l2", adaptive="element", rho=0.2, starts=9, draws=50)
    assert one.identity() == other.identity()
    assert one.identity() != Sharpness(fixed="*.bias").identity()
    assert Flatness(rho=(0.2, 0.1, 0.2), fixed="*.bias").identity() == {
        **Flatness().identity(),
        "rho": (0.1, 0.2),
        "fixed": ("*.bias",),
    }


def test_titles_name_the_scale() -> None:
    assert scaling_title({"adaptive": "none"}) == "standard"
    assert scaling_title({"adaptive": "filter"}) == "filter-wise"


def test_a_remark_names_all_radii_that_it_concerns_and_none_where_there_are_none() -> None:
    radii, nothing = np.array([0.1, 0.25]), np.zeros(0)
    assert rounding_remark(radii, "the loss", 1e-6, "0.001") == [
        "rounding: at rho 0.1, 0.25 the loss rises by less than 1e-06, which may be rounding; the smallest rho to "
        "trust is about 0.001 (or --dtype float64)"
    ]
    assert "trust" not in rounding_remark(radii, "the loss", 1e-6, "")[0]
    assert "r1 at rho 0.1, 0.25 may be larger" in slope_remark(radii, "r1")[0]
    assert rounding_remark(nothing, "", 1.0, "") == slope_remark(nothing, "") == []


@pytest.mark.parametrize(
    ("hits", "starts", "finder"),
    [
        (1, 1, ""),
        (1, 2, "one start alone"),
        (2, 4, ""),
        (1, 9, "one start alone"),
        (2, 9, "fewer than half of the starts"),
        (4, 9, "fewer than half of the starts"),
        (5, 9, ""),
        (0, 3, "fewer than half of the starts"),
    ],
)
def test_maxima_that_few_starts_found_are_remarked_on(hits: int, starts: int, finder: str) -> None:
    remarks = agreement_remark(np.array([0.1]), np.array([hits]), np.array([starts]), "s_max")
    expected = [f"s_max at rho 0.1 was found by {finder}: more --starts may find more"] if finder else []
    assert remarks == expected


def test_a_remark_on_agreement_names_the_radii_that_it_concerns() -> None:
    remarks = agreement_remark(np.array([0.1, 0.2, 0.3]), np.array([1, 9, 1]), np.array([9, 9, 9]), "r1")
    assert remarks == ["r1 at rho 0.1, 0.3 was found by one start alone: more --starts may find more"]


def test_a_maximum_is_not_unique_where_ascents_found_several() -> None:
    modes = np.array(["unique", "multimodal", "one start"])
    assert [bool(multimodal_reason(modes, (place,))) for place in range(3)] == [False, True, False]
    assert multimodal_reason(None, (0,)) == ""
    assert multimodal_reason(modes, ()) == ""
