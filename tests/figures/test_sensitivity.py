"""The picture of sensitivities: bars of real changes, forecasts, and marks where these fail."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from small_sensitivities import two_layers

from landscape.figures import draw
from landscape.figures.registry import panel_count


def drawn(result: Any) -> list[Any]:
    """The axes after drawing."""
    figure, axes = plt.subplots(1, panel_count(result))
    draw(result, axes)
    figure.canvas.draw()
    plt.close(figure)
    return list(axes)


def test_each_kind_of_change_has_a_panel_with_its_layers_by_size() -> None:
    axes = drawn(two_layers())
    assert [panel.get_title() for panel in axes] == [
        "8 bits: 2 layers, Spearman 1.00",
        "3 bits: 2 layers, Spearman 0.80",
    ]
    names = [[text.get_text() for text in panel.get_yticklabels()] for panel in axes]
    assert names == [["b", "a"], ["a x", "b ?"]]


def test_bars_are_the_sizes_of_real_changes_on_a_logarithmic_axis() -> None:
    first = drawn(two_layers())[0]
    assert first.get_xscale() == "log"
    assert sorted(bar.get_width() for bar in first.patches) == pytest.approx([1e-6, 2e-6])
    words = {text.get_text() for text in first.get_legend().get_texts()}
    assert words == {"real, a rise", "real, a fall", "forecast", "forecast, a fall"}


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["zeros", "not-finite"])
def test_changes_without_a_size_are_drawn(value: float) -> None:
    nothing = np.full(4, value)
    axes = drawn(two_layers(change_real=nothing, change_forecast=nothing, change_real_se=nothing))
    assert all(panel.get_legend() is None for panel in axes)


def test_only_the_layers_of_largest_change_are_drawn_where_there_are_many() -> None:
    count = 40
    many = {
        name: np.resize(getattr(two_layers(), name), count)
        for name in ("change_layer", "change_real_se", "change_forecast", "change_holds")
    }
    result = two_layers(
        **many, change_kind=np.full(count, "8 bits"), change_real=np.linspace(1, 2, count), kind=np.array(["8 bits"])
    )
    figure, axes = plt.subplots()
    draw(result, [axes])
    plt.close(figure)
    assert axes.get_title().startswith("8 bits: 24 of 40 layers")
    assert max(bar.get_width() for bar in axes.patches) == 2
