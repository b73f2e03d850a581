"""What the options and the result of `diagonal` say of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.analyses.diagonal import Diagonal, DiagonalResult
from landscape.errors import UsageError


@pytest.fixture
def result() -> DiagonalResult:
    """A diagonal within 10 %, as asked for."""
    one = np.array([1.0])
    return DiagonalResult(
        trace=2.0, trace_se=0.1, norm=1.0, relative_error=0.08, rtol=0.1, largest=0.5, smallest=-0.1,
        negative_share=0.1, products=30, draws=0, cost_gradients=90.0, loss=0.1, gradient_norm=0.1, parameters=20,
        samples=5, layer=np.array(["a"]), layer_parameters=np.array([20]), layer_trace=one, layer_trace_se=one,
        layer_mean=one, layer_largest=one, layer_negative=one, layer_error=one, curve_share=one, curve_value=one,
        curve_standard_error=one,
    )  # fmt: skip


def test_errors_as_small_as_asked_are_conclusive(result: DiagonalResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == ["norm of the standard errors 0.08 of the norm of the diagonal, 0.1 was asked for"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rtol": 0.01}, "the errors are 0.08 of the diagonal after 30 products, 0.01 was asked for"),
        (
            {"relative_error": float("inf")},
            "the errors are as large as the diagonal or larger after 30 products, 0.1 was asked for",
        ),
        ({"rtol": 0.01, "products": 0, "draws": 16}, "the errors are 0.08 of the diagonal after 16 draws, 0.01 was"),
        ({"relative_error": float("nan"), "trace": float("nan"), "products": 0}, "are not finite"),
    ],
    ids=["wide", "hidden", "draws", "not-finite"],
)
def test_each_trouble_names_its_reason(result: DiagonalResult, changes: Any, why: str) -> None:
    assert why in str(replace(result, **changes).trouble())


def test_remarks_tell_how_the_diagonal_was_computed(result: DiagonalResult) -> None:
    assert replace(result, relative_error=0.0, products=0).remarks() == ["every entry is exact, but for rounding"]
    split = replace(result, known_trace=1.5).remarks()[0]
    assert split.endswith("the Gauss-Newton part is exact, random vectors estimate the rest")
    no_rest = replace(result, relative_error=1e-9, known_trace=1.5).remarks()[0]
    assert no_rest == "the Gauss-Newton part is exact, and random vectors show no rest beyond rounding"


def test_the_remark_on_a_mask_counts_the_undecided(result: DiagonalResult) -> None:
    mask = {"top_share": 0.25, "top_count": 5, "top_threshold": 0.3, "top_separated": 4, "top_undecided": 2}
    remark = replace(result, **mask).remarks()[-1]  # type: ignore[arg-type]
    assert remark == (
        "--top chose 5 of 20 entries, with |entry| above 0.3: 4 of them lie above it by more than their error; 2 of "
        "the others could as well be chosen"
    )


@pytest.mark.parametrize("bad", ["0", "100%", "ten", "-1%", "1.5"])
def test_a_share_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match=f"--top is {bad}"):
        Diagonal(top=bad)


def test_spellings_of_a_share_are_one() -> None:
    assert Diagonal(top="10%") == Diagonal(top="0.1") == Diagonal(top=0.1)  # type: ignore[arg-type]
    assert "top" not in Diagonal(top="10%").identity()


@pytest.mark.parametrize("options", [{"rtol": 0.0}, {"labels": 1}, {"max_products": 0}], ids=str)
def test_options_outside_their_range_are_refused(options: Any) -> None:
    with pytest.raises(UsageError, match="is "):
        Diagonal(**options)
