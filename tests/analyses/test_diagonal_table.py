"""The mask of the largest entries, the curve, and the table of layers, from given entries and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Diagonal, Objective
from landscape.analyses.diagonal_table import DiagonalEstimate, summarize

ENTRIES = np.array([5.0, -4.0, 3.0, 2.0, -1.0, 0.5, 0.0, 0.0])


@pytest.fixture
def objective() -> Objective:
    return Objective(nn.Linear(3, 2), (torch.randn(4, 3), torch.tensor([0, 1, 0, 1])), "cross_entropy")


def fields(
    objective: Objective, errors: Any = 0.0, probes: int = 0, top: str | None = None, entries: np.ndarray = ENTRIES
) -> dict[str, Any]:
    variance = np.broadcast_to(np.asarray(errors, dtype=float) ** 2, (8,)).copy()
    estimate = DiagonalEstimate(entries, variance, np.array([4.0, 9.0]), probes=probes)
    return summarize(Diagonal(top=top), estimate, objective, objective.space.layers())


def test_numbers_of_all_entries(objective: Objective) -> None:
    found = fields(objective, 0.5)
    assert found["trace"] == 5.5
    assert found["trace_se"] == 3.0
    assert (found["largest"], found["smallest"]) == (5.0, -4.0)
    square = (ENTRIES**2).sum()
    assert found["norm"] == pytest.approx((square - 2.0) ** 0.5)
    assert found["relative_error"] == pytest.approx((2.0 / (square - 2.0)) ** 0.5)
    assert found["negative_share"] == 2 / 8  # -1 lies 2 errors below 0
    assert fields(objective, 0.5, probes=8)["negative_share"] == 1 / 8  # of eight probes 2.4 errors are needed


def test_layers_have_their_sums_errors_and_signs(objective: Objective) -> None:
    found = fields(objective, 0.5, top="25%")
    assert list(found["layer"]) == ["(model)"]
    assert found["layer_trace"].tolist() == [5.5]
    assert found["layer_trace_se"].tolist() == [2.0]
    assert found["layer_mean"].tolist() == [5.5 / 8]
    assert found["layer_largest"].tolist() == [5.0]
    assert found["top_in_layer"].tolist() == [0.25]


def test_the_mask_holds_the_entries_of_largest_size_and_the_first_of_equal_ones(objective: Objective) -> None:
    assert fields(objective)["mask"] is None
    assert fields(objective, top="25%")["mask"].tolist() == [True, True, *[False] * 6]
    almost = fields(objective, top="87%")["mask"]
    assert almost.tolist() == [*[True] * 7, False]
    assert fields(objective, top="1%")["mask"].sum() == 1


@pytest.mark.parametrize(
    ("errors", "probes", "separated", "undecided"),
    [(0.0, 0, 2, 0), (0.2, 0, 2, 0), (0.3, 0, 1, 1), (0.3, 2, 0, 6), (10.0, 0, 0, 6)],
    ids=["exact", "clear", "near", "few-probes", "hidden"],
)
def test_entries_near_the_threshold_are_undecided(
    objective: Objective, errors: float, probes: int, separated: int, undecided: int
) -> None:
    found = fields(objective, errors, probes, "25%")
    assert found["top_threshold"] == 3.5
    assert (found["top_separated"], found["top_undecided"]) == (separated, undecided)


def test_equal_entries_at_the_threshold_are_never_separated(objective: Objective) -> None:
    found = fields(objective, top="50%", entries=np.ones(8))
    assert found["top_count"] == 4
    assert (found["top_separated"], found["top_undecided"]) == (0, 4)


def test_the_curve_goes_from_the_largest_entry_to_the_smallest(objective: Objective) -> None:
    found = fields(objective, np.arange(8.0))
    assert found["curve_share"].tolist() == [(index + 1) / 8 for index in range(8)]
    assert found["curve_value"].tolist() == sorted(np.abs(ENTRIES), reverse=True)
    assert found["curve_standard_error"].tolist() == np.arange(8.0).tolist()


def test_entries_that_are_not_finite_choose_no_mask(objective: Objective) -> None:
    found = fields(objective, top="25%", entries=np.array([np.nan, *ENTRIES[1:]]))
    assert found["mask"] is None
    assert np.isnan(found["relative_error"])
