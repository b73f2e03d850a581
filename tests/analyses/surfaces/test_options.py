"""The forms in which options of a surface may be given, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from landscape import Surface
from landscape.analyses.surfaces.options import as_tuple, parse_grid, parse_levels, parse_range
from landscape.errors import UsageError


@pytest.mark.parametrize(("text", "counts"), [("51", (51,)), ("51x31", (51, 31)), (" 2X2001 ", (2, 2001))])
def test_a_grid_is_one_number_or_two(text: str, counts: tuple[int, ...]) -> None:
    assert parse_grid(text) == counts


@pytest.mark.parametrize("text", ["", "1", "2002", "5x", "5x5x5", "5.0", "-5", "a"])
def test_other_grids_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--grid is"):
        parse_grid(text)


@pytest.mark.parametrize(
    ("text", "extents"),
    [
        ("1", ((-1.0, 1.0),)),
        ("-0.5:1.5", ((-0.5, 1.5),)),
        ("0:2", ((0.0, 2.0),)),
        ("1,-2:3", ((-1.0, 1.0), (-2.0, 3.0))),
    ],
)
def test_a_range_is_symmetric_or_has_two_ends_for_each_axis(text: str, extents: tuple[Any, ...]) -> None:
    assert parse_range(text) == extents


@pytest.mark.parametrize("text", ["", "0", "1:2", "-2:-1", "2:-1", "nan", "1e300", "1,1,1", "a:b"])
def test_a_range_that_misses_the_checkpoint_or_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--range is"):
        parse_range(text)


def test_levels_are_numbers_or_texts_with_commas() -> None:
    assert parse_levels((0.5, "1,2")) == (0.5, 1.0, 2.0)
    for bad in ((float("inf"),), ("a",), (None,)):
        with pytest.raises(UsageError, match="--level is"):
            parse_levels(bad)


def test_one_value_several_or_none_are_a_tuple() -> None:
    assert as_tuple(None) == ()
    assert as_tuple("a,b") == ("a,b",)
    assert as_tuple(Path("a")) == (Path("a"),)
    assert as_tuple(["a", "b"]) == ("a", "b")
    assert as_tuple(np.array(1.5)) == (1.5,)
    state = {"w": np.zeros(2)}
    assert as_tuple(state) == (state,)
    (weights,) = as_tuple(nn.Linear(2, 1))
    assert set(weights) == {"weight", "bias"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("random", 2, "filter", ("bias", "norm", "position"), "fixed")),
        ({"axes": "eigen"}, ("eigen", 2, "none", ("none",), "fixed")),
        ({"axes": "gradient"}, ("gradient", 1, "none", ("none",), "fixed")),
        ({"axes": "gradient", "grid": "5x5"}, ("gradient", 2, "none", ("none",), "fixed")),
        ({"towards": "b.pt"}, ("checkpoints", 1, "none", ("none",), "interpolate")),
        ({"towards": ("b.pt", "c.pt")}, ("checkpoints", 2, "none", ("none",), "interpolate")),
        ({"trajectory": "run"}, ("trajectory", 2, "none", ("none",), "recompute")),
        ({"trajectory": Path("run"), "dim": 1}, ("trajectory", 1, "none", ("none",), "recompute")),
    ],
    ids=["random", "eigen", "gradient", "gradient-plane", "line", "plane", "trajectory", "trajectory-line"],
)
def test_defaults_follow_from_the_axes(options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    settings = Surface(**options).settings
    found = (settings.axes, settings.dimension, settings.normalize, settings.ignore, settings.batch_norm)
    assert found == expected


def test_the_british_name_of_the_normalization_still_works_and_stays_in_files() -> None:
    analysis = Surface(normalise="layer")  # type: ignore[call-arg]
    assert analysis.settings.normalize == "layer"
    assert analysis.identity()["normalise"] == "layer"
    with pytest.raises(UsageError, match="given twice"):
        Surface(normalise="layer", normalize="layer")  # type: ignore[call-arg]


def test_python_s_own_forms_of_the_options() -> None:
    assert Surface(grid=(51, 31)).settings.grid == "51x31"  # type: ignore[arg-type]
    assert Surface(grid=21).settings.grid == "21"  # type: ignore[arg-type]
    assert Surface(towards=Path("b.pt")).settings.towards == ("b.pt",)  # type: ignore[arg-type]
    assert Surface(ignore="bias,norm").settings.ignore == ("bias", "norm")  # type: ignore[arg-type]
    assert Surface(range=(-1, 2)).settings.range == "-1:2"  # type: ignore[arg-type]
    assert Surface(range=((-1, 2), (-3, 3))).settings.range == "-1:2,-3:3"  # type: ignore[arg-type]
    assert Surface(range=0.5).settings.range == "0.5"  # type: ignore[arg-type]
    assert Surface(level=0.5, towards=None, ignore=None).settings.level == (0.5,)  # type: ignore[arg-type]
    assert Surface().settings.normalize == "filter"
    assert Surface(axes="eigen").settings.normalize == "none"
    assert Surface().identity()["ignore"] == ("bias", "norm", "position")
