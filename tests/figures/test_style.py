"""Colors of populations, and bars by layer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pytest
from matplotlib import colormaps, rc_context
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from landscape.figures.style import (
    BLUE,
    COLOR_MAP,
    MAX_BARS,
    ORANGE,
    OTHER_POPULATIONS,
    POPULATIONS,
    SERIES,
    SIGNED_MAP,
    bars_that_fit,
    draw_layer_bars,
    ink,
    population_style,
    series_style,
    shades,
)


def test_a_population_whose_name_has_a_meaning_has_its_own_color() -> None:
    assert population_style("memorized", 3).color == population_style("memorized", 0).color == ORANGE


def test_other_populations_have_different_colors_that_repeat() -> None:
    colors = [population_style(f"set {place}", place).color for place in range(len(OTHER_POPULATIONS) + 1)]
    assert len(set(colors)) == len(OTHER_POPULATIONS)
    assert colors[0] == colors[-1]


def test_bars_stand_in_order_with_negative_ones_in_orange() -> None:
    axes = Figure().subplots()
    draw_layer_bars(axes, np.array(["a", "b", "c"]), np.array([2.0, 1.0, -1.0]), np.array([0.1, 0.1, 0.1]), "trace")
    assert [bar.get_width() for bar in axes.patches] == [2.0, 1.0, -1.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [BLUE, BLUE, ORANGE]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.yaxis_inverted()  # the first on top
    assert (axes.get_xlabel(), axes.get_title()) == ("trace", "by block")


@pytest.mark.parametrize("count", [MAX_BARS, MAX_BARS + 1])
def test_layers_beyond_the_last_bar_are_counted_in_the_title(count: int) -> None:
    axes = Figure().subplots()
    draw_layer_bars(axes, np.array([str(i) for i in range(count)]), np.ones(count), None, "trace")
    assert len(axes.patches) == MAX_BARS
    assert axes.get_title() == ("by block" if count == MAX_BARS else f"{MAX_BARS} of {count} blocks")


# linear RGB as readers without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1)
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)


def lab(color: str, vision: np.ndarray) -> np.ndarray:
    """The color in CIELAB, in which a distance of 2.3 is just noticed, as a reader with that vision sees it."""
    coded = np.array(to_rgb(color))
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(vision @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colors: Iterable[str], vision: np.ndarray) -> float:
    places = [lab(color, vision) for color in dict.fromkeys(colors)]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(places, 2))


@pytest.mark.parametrize("kind", VISION)
def test_colors_stay_apart_for_every_kind_of_color_vision(kind: str) -> None:
    vision = VISION[kind]
    assert nearest([style.color for style in SERIES], vision) > 15
    assert nearest([style.color for style in (*POPULATIONS.values(), *OTHER_POPULATIONS)], vision) > 10
    assert nearest(["#888888", "#8a8a8a"], vision) < 2.3


def test_series_differ_without_any_color() -> None:
    assert len({style.line for style in SERIES}) == len({style.mark for style in SERIES}) == len(SERIES)
    assert len({style.hatch for style in SERIES}) == len(SERIES)
    named = {style.color: style for style in (*POPULATIONS.values(), *OTHER_POPULATIONS)}.values()
    assert len({style.mark for style in named}) == len({style.hatch for style in named}) == len(named)
    assert series_style(len(SERIES)) == SERIES[0]


@pytest.mark.parametrize("name", [COLOR_MAP, SIGNED_MAP])
def test_color_maps_rise_in_lightness(name: str) -> None:
    lightness = [lab(to_hex(color), VISION["usual"])[0] for color in colormaps[name](np.linspace(0, 1, 64))]
    assert (np.diff(lightness) > 0).all()
    assert (np.diff([lab(to_hex(color), VISION["usual"])[0] for color in shades(9)]) > 3).all()


def test_the_middle_of_the_map_of_signed_values_is_grey() -> None:
    red, green, blue, _ = colormaps[SIGNED_MAP](0.5)
    assert max(red, green, blue) - min(red, green, blue) < 0.03


def test_fewer_bars_are_drawn_where_their_names_would_overprint() -> None:
    tall, short = (Figure(figsize=(3.3, height), layout="constrained").subplots() for height in (4.6, 1.5))
    assert bars_that_fit(tall, 100) == MAX_BARS
    assert 4 <= bars_that_fit(short, 100) < 12
    assert bars_that_fit(short, 3) == 3


def test_ink_is_the_color_of_text() -> None:
    with rc_context({"text.color": "#fafafa"}):
        assert ink() == "#fafafa"
