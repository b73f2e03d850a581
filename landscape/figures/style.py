"""What the figures share: colors, and bars by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.choices import CLEAN, DATA, HELD_OUT, MEMORIZED, NEVER_SEEN
from landscape.errors import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# the palette of Okabe and Ito, whose colors readers with any kind of color vision tell apart
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
PURPLE, YELLOW, SKY = "#CC79A7", "#E69F00", "#56B4E9"
POPULATION_COLORS = {
    MEMORIZED: ORANGE,
    CLEAN: BLUE,
    HELD_OUT: SKY,
    NEVER_SEEN: GREY,
    "truth": GREEN,
    DATA: BLUE,
    "others": BLUE,
}
OTHER_COLORS = (PURPLE, YELLOW, "#000000", "#8B4513", "#F0E442", "#4B0082")  # none of them is that of a population
MAX_BARS = 24  # more names cannot be read in one panel


def population_color(population: str, place: int) -> str:
    """The color of a population: its own if its name has a meaning, else one by its `place` in the result."""
    return POPULATION_COLORS.get(population, OTHER_COLORS[place % len(OTHER_COLORS)])


def legend_text(text: str) -> str:
    """A name as matplotlib shows it: dollars begin no math, and a name that begins with _ is not left out."""
    return f"{' ' * text.startswith('_')}{clean(text)}".replace("$", r"\$")


def draw_layer_bars(
    axes: Axes,
    names: np.ndarray | None,
    values: np.ndarray | None,
    errors: np.ndarray | None,
    label: str,
    kind: str = "block",
) -> None:
    """Draws a bar with its error for each of the first of a `kind`, the first on top; negative values are orange."""
    assert names is not None
    assert values is not None
    shown = slice(0, MAX_BARS)
    places = np.arange(len(names[shown]))
    axes.barh(places, values[shown], color=np.where(values[shown] < 0, ORANGE, BLUE), height=0.75)
    if errors is not None:
        axes.errorbar(values[shown], places, xerr=errors[shown], fmt="none", ecolor=GREY, elinewidth=1.5)
    size = 8 if len(places) <= MAX_BARS // 2 else 6
    axes.set_yticks(places, [clean(str(name)) for name in names[shown]], fontsize=size, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(label)
    title = f"{len(places)} of {len(names)} {kind}s" if len(places) < len(names) else f"by {kind}"
    axes.set_title(title, fontsize=10)


def label_integers(axes: Axes) -> None:
    """Puts the ticks of the horizontal axis at integers: ranks, or products."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
