"""Surfaces as solids, maps and lines: heights, levels, marks, and losses that are not finite."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.report.surfaces import MAX_SIDE, heights_of, is_logarithmic, level_range, surface_charts


def test_heights_are_logarithms_where_losses_are_positive_and_wide() -> None:
    wide = np.array([[0.01, 1.0], [100.0, np.inf]])
    assert is_logarithmic(wide)
    np.testing.assert_allclose(heights_of(wide), [[-2, 0], [2, np.nan]])
    for losses in (np.array([1.0, 2.0]), np.array([-1.0, 100.0]), np.array([np.nan])):
        assert not is_logarithmic(losses)
        np.testing.assert_array_equal(heights_of(losses), losses)
    np.testing.assert_allclose(heights_of(np.array([1e-9, 1.0])), [-9, -3])  # six decades


def test_solid_and_map_show_the_same_heights_and_the_losses_on_hover(first: Any) -> None:
    solid, map_ = surface_charts(first.surface, {})
    np.testing.assert_allclose(solid.data[0]["z"], heights_of(first.surface.loss), rtol=1e-5)
    assert solid.data[0]["z"] == map_.data[0]["z"]
    shown = [[float(word) for word in row] for row in solid.data[0]["text"]]
    np.testing.assert_allclose(shown, first.surface.loss, rtol=1e-4)
    assert solid.solid
    assert solid.level == map_.level != ""
    low, high, level, _ = level_range(first.surface)
    assert low < level < high
    assert solid.data[0]["contours"]["z"]["start"] == level == map_.data[1]["contours"]["start"]


def test_large_grids_are_thinned_and_losses_that_are_not_finite_are_holes(first: Any) -> None:
    side = 3 * MAX_SIDE
    losses = np.ones((side, side))
    losses[0, 0] = np.nan
    axis = np.linspace(-1, 1, side)
    result = replace(first.surface, loss=losses, alpha=axis, beta=axis)
    solid, _ = surface_charts(result, {})
    assert np.shape(solid.data[0]["z"]) == (MAX_SIDE, MAX_SIDE)
    assert solid.data[0]["z"][0][0] is None
    assert solid.data[0]["text"][0][0] == ""
    empty = replace(result, loss=np.full((side, side), np.nan))
    json.dumps([chart.data for chart in surface_charts(empty, {})], allow_nan=False)


def test_checkpoints_are_marked_by_name(first: Any) -> None:
    marked = replace(
        first.surface, mark=np.array(["<i>a</i>", "b"]), place_alpha=np.array([0.0, 1.0]), place_beta=np.zeros(2)
    )
    _, map_ = surface_charts(marked, {})
    assert map_.data[-1]["text"] == ["&lt;i&gt;a&lt;/i&gt;", "b"]
    assert map_.data[-1]["x"] == [0.0, 1.0]


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_lines_have_a_line_for_each_and_their_mean(first: Any, several: bool) -> None:
    losses = np.stack([np.linspace(1, 2, 9), np.linspace(3, 4, 9)])
    result = replace(first.surface, beta=None, loss=losses if several else losses[0], accuracy=None,
                     seed=np.arange(2) if several else None)  # fmt: skip
    (chart,) = surface_charts(result, {})
    means = next(trace for trace in chart.data if trace["name"] in ("loss", "mean loss"))
    np.testing.assert_allclose(means["y"], losses.mean(axis=0) if several else losses[0], rtol=1e-5)
    assert len([trace for trace in chart.data if trace["name"].startswith("line")]) == (2 if several else 0)
    assert chart.data[-1]["y"] == [pytest.approx(result.centre_loss, rel=1e-5)]
