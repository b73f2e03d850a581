"""Tests of the terms of an objective: their forms, their sums with counts, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.errors import TaskError, UsageError
from landscape.losses.terms import ONLY, TermsLoss, read_terms

LOSSES = torch.tensor([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        pytest.param(LOSSES, {ONLY: (7.0, 3.0)}, id="losses"),
        pytest.param((LOSSES.sum(), 3), {ONLY: (7.0, 3.0)}, id="sum and count"),
        pytest.param([LOSSES.sum(), torch.tensor(2.5)], {ONLY: (7.0, 2.5)}, id="count as a tensor"),
        pytest.param((LOSSES.sum(), np.int64(3)), {ONLY: (7.0, 3.0)}, id="count of NumPy"),
        pytest.param((0.0, 0), {ONLY: (0.0, 0.0)}, id="nothing in this batch"),
        pytest.param({"a": LOSSES, "b": (LOSSES[0], 4)}, {"a": (7.0, 3.0), "b": (1.0, 4.0)}, id="named"),
    ],
)
def test_the_forms_of_terms_are_read_as_sums_with_counts(
    returned: Any, expected: dict[str, tuple[float, float]]
) -> None:
    terms = read_terms(returned, "f")
    assert {name: (float(term.total), term.count) for name, term in terms.items()} == expected


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        pytest.param(LOSSES.mean(), "objective f is one number for a batch, without a count", id="mean"),
        pytest.param(1.5, "objective f is a float", id="float"),
        pytest.param(None, "objective f is a NoneType", id="nothing"),
        pytest.param(LOSSES[None], r"objective f has losses of \(1, 3\)", id="two axes"),
        pytest.param(torch.tensor([1, 2]), r"objective f has losses of \(2,\) torch.int64", id="integers"),
        pytest.param((LOSSES, 3), r"objective f has a sum of \(3,\)", id="losses with a count"),
        pytest.param((LOSSES.sum(), 3, 4), r"is a tuple of \(\) torch.float32, int, int", id="three numbers"),
        pytest.param((LOSSES.sum(), LOSSES), r"a tuple of \(\) torch.float32, \(3,\) torch.float32", id="counts"),
        pytest.param({}, "dictionary without names of terms", id="empty dictionary"),
        pytest.param({0: LOSSES}, "dictionary without names of terms", id="a number as name"),
        pytest.param({"a": {"b": LOSSES}}, "term a of objective f is a dict", id="nested"),
        pytest.param({"a": LOSSES.mean()}, "term a of objective f is one number", id="a named mean"),
    ],
)
def test_what_is_no_term_is_refused_with_the_forms(returned: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        read_terms(returned, "f")
    assert "(sum, count)" in caught.value.fix


@pytest.mark.parametrize("count", [-1, math.nan, math.inf])
def test_a_count_that_is_no_number_of_losses_is_refused(count: float) -> None:
    with pytest.raises(TaskError, match="the count of objective f is"):
        _ = read_terms((LOSSES.sum(), count), "f")[ONLY].count


def test_two_losses_are_no_sum_with_a_count() -> None:
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(TaskError, match="depends on the parameters") as caught:
        _ = read_terms((2 * weight, 3 * weight), "f")[ONLY].count
    assert "dictionary" in caught.value.fix


def total(loss: TermsLoss, returned: Any) -> Tensor:
    """The loss of what a function returned."""
    return loss.total(returned, None)


def test_each_term_is_divided_by_its_own_count_over_all_data() -> None:
    loss = TermsLoss("f", {"a": 6.0, "b": 4.0}, samples=10)
    batches = [{"a": LOSSES, "b": (torch.tensor(3.0), 1)}, {"a": 2 * LOSSES, "b": (torch.tensor(5.0), 3)}]
    mean = sum(float(total(loss, batch)) for batch in batches) / 10
    assert mean == pytest.approx((7 + 14) / 6 + (3 + 5) / 4, rel=1e-6)
    alone = [loss.only("b"), loss.only("a")]
    assert [sum(float(total(one, batch)) for batch in batches) / 10 for one in alone] == pytest.approx([2.0, 3.5])


def test_terms_of_other_names_are_refused() -> None:
    loss = TermsLoss("objective", {"a": 6.0, "b": 4.0}, samples=10)
    with pytest.raises(TaskError, match="the objective returns other terms on another batch") as caught:
        total(loss, {"a": LOSSES})
    assert caught.value.why == "a, b at first, then a"


def test_a_batch_without_one_loss_for_each_sample_is_refused_where_the_first_ones_had_them() -> None:
    loss = TermsLoss("f", {ONLY: 6.0}, samples=6, separate=True)
    assert float(loss.batch_total(LOSSES, 3)) == 7.0
    with pytest.raises(TaskError, match="objective f has 3 losses for 4 samples"):
        loss.batch_total(LOSSES, 4)
    with pytest.raises(TaskError, match="objective f has 3 losses for 3 samples"):
        loss.batch_total((LOSSES.sum(), 3), 3)


def test_a_term_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="--term c is no term of objective f") as caught:
        TermsLoss("f", {"a": 6.0, "b": 4.0}).only("c")
    assert caught.value.why == "its terms are a, b"
    with pytest.raises(UsageError) as caught:
        TermsLoss("f", {ONLY: 6.0}).only("c")
    assert caught.value.why == "it names no terms"


def test_terms_are_no_outputs_and_no_likelihood() -> None:
    loss = TermsLoss("f", {ONLY: 6.0})
    assert loss.structure.kind == "unknown"
    with pytest.raises(TaskError, match="no labels can be drawn"):
        loss.sample(LOSSES, None, lambda shape: torch.rand(shape))
    with pytest.raises(TypeError, match="counted by their batches"):
        loss.count(LOSSES)
