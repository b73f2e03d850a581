"""What the figures share: colors, lines, marks and hatches, and bars by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from landscape.choices import CLEAN, DATA, HELD_OUT, MEMORIZED, NEVER_SEEN
from landscape.figures.texts import font_size, panel_size, set_heading, set_label, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# the palette of Okabe and Ito, whose colors readers with any kind of color vision tell apart
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
PURPLE, YELLOW, SKY = "#CC79A7", "#E69F00", "#56B4E9"
BLACK = "#000000"
COLOR_MAP, SIGNED_MAP = "viridis", "cividis"  # lightness rises along both; the second is grey in the middle, at 0
LIGHTEST = 0.88  # of the color map, for lines: lighter ones are hard to see on white
MAX_BARS = 24  # more names cannot be read in one panel
NAME_ROOM = 1.25  # distance of bars with names, relative to the size of the names
MAX_NAMED = 6  # lines whose names a legend can hold; more have a color bar


class SeriesStyle(NamedTuple):
    """How one of several series is drawn: two differ in their marks and lines, for readers who see no colors."""

    color: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str
    hatch: str


SERIES = (
    SeriesStyle(BLUE, "-", "o", ""),
    SeriesStyle(ORANGE, "--", "s", "///"),
    SeriesStyle(GREEN, "-.", "D", "..."),
    SeriesStyle(PURPLE, ":", "^", "xxx"),
    SeriesStyle(YELLOW, (0, (6, 1, 1, 1, 1, 1)), "v", "\\\\\\"),
    SeriesStyle(SKY, (0, (2, 1)), "P", "+++"),
    SeriesStyle(BLACK, (0, (8, 3)), "X", "---"),
)
POPULATIONS = {
    MEMORIZED: SeriesStyle(ORANGE, "-", "s", "///"),
    CLEAN: SeriesStyle(BLUE, "-", "o", ""),
    HELD_OUT: SeriesStyle(SKY, "-", "^", "..."),
    NEVER_SEEN: SeriesStyle(GREY, "-", "D", "xxx"),
    "truth": SeriesStyle(GREEN, "--", "v", "\\\\\\"),
    DATA: SeriesStyle(BLUE, "-", "o", ""),
    "others": SeriesStyle(BLUE, "-", "o", ""),
}
OTHER_POPULATIONS = (
    SeriesStyle(PURPLE, "-", "P", "+++"),
    SeriesStyle(YELLOW, "-", "X", "---"),
    SeriesStyle(BLACK, "-", "<", "|||"),
    SeriesStyle("#8B4513", "-", ">", "ooo"),
    SeriesStyle("#F0E442", "-", "p", "***"),
    SeriesStyle("#4B0082", "-", "h", "///..."),
)  # none of them has the color of a population whose name has a meaning


def series_style(place: int) -> SeriesStyle:
    """The style of the series at a place; it repeats after seven."""
    return SERIES[place % len(SERIES)]


def population_style(population: str, place: int) -> SeriesStyle:
    """The style of a population: its own if its name has a meaning, else one by its `place` in the result."""
    return POPULATIONS.get(population, OTHER_POPULATIONS[place % len(OTHER_POPULATIONS)])


def ink() -> str:
    """The color of text in the style that is set: black on white, or light on dark."""
    from matplotlib import rcParams

    return str(rcParams["text.color"])


def shades(count: int) -> np.ndarray:
    """Colors `(count, 4)` for the lines of an ordered series, from dark to light."""
    from matplotlib import colormaps

    found: np.ndarray = colormaps[COLOR_MAP](np.linspace(0, LIGHTEST, count))
    return found


def draw_shades_bar(axes: Axes, count: int, label: str) -> None:
    """Draws the color bar of an ordered series of lines beside their panel."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    bar = ScalarMappable(Normalize(-0.5, count - 0.5), ListedColormap(shades(count)))
    axes.figure.colorbar(
        bar, ax=axes, label=label, pad=0.02, ticks=MaxNLocator(integer=True, min_n_ticks=1)
    )  # one for a single value


def name_size(count: int) -> str:
    """The size of the names of so many bars or cells."""
    return "small" if count <= MAX_BARS // 2 else "x-small"


def bars_that_fit(axes: Axes, count: int) -> int:
    """How many of so many bars have names that can be read below each other in a panel."""
    return min(count, MAX_BARS, max(4, int(panel_size(axes)[1] / (NAME_ROOM * font_size(name_size(count))))))


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
    shown = slice(0, bars_that_fit(axes, len(names)))
    places = np.arange(len(names[shown]))
    axes.barh(places, values[shown], color=np.where(values[shown] < 0, ORANGE, BLUE), height=0.75)
    if errors is not None:
        axes.errorbar(values[shown], places, xerr=errors[shown], fmt="none", ecolor=GREY, elinewidth=1.5)
    size = name_size(len(places))
    axes.set_yticks(places, tick_names(axes, list(map(str, names[shown])), size), fontsize=size, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=0.8)
    set_label(axes, "x", label)
    set_heading(axes, f"{len(places)} of {len(names)} {kind}s" if len(places) < len(names) else f"by {kind}")


def label_integers(axes: Axes) -> None:
    """Puts the ticks of the horizontal axis at integers: ranks, or products."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # one for a single value
