"""What the pictures have in common: colours, and bars by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"  # Okabe and Ito: told apart by everyone
PURPLE, YELLOW, SKY = "#CC79A7", "#E69F00", "#56B4E9"
POPULATION_COLORS = {
    "memorized": ORANGE,
    "clean": BLUE,
    "held-out": SKY,
    "never-seen": GREY,
    "truth": GREEN,
    "data": BLUE,
    "others": BLUE,
}
OTHER_COLORS = (PURPLE, YELLOW, "#000000", "#8B4513", "#F0E442", "#4B0082")  # none of them anybody's own
MAX_BARS = 24  # more cannot be labelled in one panel


def population_color(population: str, place: int) -> str:
    """The colour of a population: its own where its name means something."""
    return POPULATION_COLORS.get(population, OTHER_COLORS[place % len(OTHER_COLORS)])


def draw_layer_bars(
    axes: Axes, names: np.ndarray | None, values: np.ndarray | None, errors: np.ndarray | None, label: str
) -> None:
    """A bar for each layer in the order given, the first on top, with its error; the last ones are left out if many."""
    assert names is not None
    assert values is not None
    shown = slice(0, MAX_BARS)
    places = np.arange(len(names[shown]))
    axes.barh(places, values[shown], color=np.where(values[shown] < 0, ORANGE, BLUE), height=0.75)
    if errors is not None:
        axes.errorbar(values[shown], places, xerr=errors[shown], fmt="none", ecolor=GREY, elinewidth=1.5)
    small = 8 if len(places) <= MAX_BARS // 2 else 6
    axes.set_yticks(places, names[shown], fontsize=small, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_title(f"{len(places)} of {len(names)} blocks" if len(places) < len(names) else "by block", fontsize=10)
