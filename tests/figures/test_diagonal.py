"""The picture of a diagonal: its entries, their errors, and the threshold of a mask."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape.analyses.diagonal import DiagonalResult
from landscape.figures import draw
from landscape.figures.registry import panel_count


@pytest.fixture
def result() -> DiagonalResult:
    """Twenty entries in two layers, one of which has a negative trace."""
    one = np.ones(2)
    return DiagonalResult(
        trace=2.0, trace_se=0.1, norm=1.0, relative_error=0.08, rtol=0.1, largest=0.5, smallest=-0.1,
        negative_share=0.1, products=30, draws=0, cost_gradients=90.0, loss=0.1, gradient_norm=0.1, parameters=20,
        samples=5, layer=np.array(["a", "b"]), layer_parameters=np.array([10, 10]), layer_trace=np.array([2.5, -0.5]),
        layer_trace_se=0.1 * one, layer_mean=one, layer_largest=one, layer_negative=one, layer_error=one,
        curve_share=np.linspace(0.05, 1, 20), curve_value=np.geomspace(0.5, 1e-4, 20),
        curve_standard_error=np.full(20, 0.01),
    )  # fmt: skip


def drawn(result: DiagonalResult) -> tuple[set[str], str]:
    """The words of the first panel's legend, and its title."""
    figure, axes = plt.subplots(1, panel_count(result))
    draw(result, axes)
    words = {text.get_text() for text in axes[0].get_legend().get_texts()}
    title = axes[0].get_title()
    figure.canvas.draw()
    plt.close(figure)
    return words, title


def test_entries_are_drawn_with_their_errors(result: DiagonalResult) -> None:
    words, title = drawn(result)
    assert words == {"|entry|", "one standard error", "mean entry"}
    assert title.replace("\n", " ") == "trace 2, 20 entries, errors 8 % of the norm"


def test_the_threshold_of_a_mask_is_drawn(result: DiagonalResult) -> None:
    words, _ = drawn(replace(result, top_share=0.25, top_threshold=0.1))
    assert "threshold of 25 %" in words


def test_an_exact_diagonal_has_no_band(result: DiagonalResult) -> None:
    words, title = drawn(replace(result, relative_error=0.0, curve_standard_error=np.zeros(20)))
    assert "one standard error" not in words
    assert title.endswith("exact")


def test_a_diagonal_of_zeros_is_drawn(result: DiagonalResult) -> None:
    zeros = replace(result, curve_value=np.zeros(20), curve_standard_error=np.zeros(20), trace=0.0, relative_error=0.0)
    assert "|entry|" in drawn(zeros)[0]


def test_unknown_entries_are_drawn(result: DiagonalResult) -> None:
    unknown = replace(result, curve_value=np.full(20, np.nan), curve_standard_error=np.full(20, np.inf))
    assert drawn(unknown)[0]
