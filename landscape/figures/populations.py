"""What --by adds to a picture: bars by population, and heat maps of how gradients and curvatures agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.errors import clean
from landscape.figures.style import GREY, MAX_BARS, draw_layer_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.shared.by_population import PopulationColumns

MAX_CELLS = 16  # populations up to which a heat map has its numbers written in it
WHITE_BEYOND = 0.6  # |cosine| of cells so dark that their numbers are white


def population_panels(result: PopulationColumns) -> int:
    """Bars and the cosines of gradients, and those of curvatures if the result holds them; none without --by."""
    if result.population is None:
        return 0
    return 2 + (_curvature_cosine(result) is not None)


def draw_populations(
    result: PopulationColumns,
    axes: Sequence[Axes],
    values: np.ndarray | None,
    errors: np.ndarray | None,
    whole: float,
    label: str,
) -> None:
    """Draws `values (B,)` with their errors beside that of all samples, and the heat maps, on the given axes."""
    if result.population is None or values is None:
        return
    draw_bars(axes[0], result.population, values, errors, whole, label)
    draw_cosines(axes[1], result.population, result.gradient_cosine, "cosine of gradients")
    curvature = _curvature_cosine(result)
    if curvature is not None:
        draw_cosines(axes[2], result.population, curvature, "cosine of curvatures")


def draw_bars(
    axes: Axes, names: np.ndarray, values: np.ndarray, errors: np.ndarray | None, whole: float, label: str
) -> None:
    """Draws a bar for each population, the largest on top, and a line at the value of all samples."""
    order = np.argsort(-values)
    draw_layer_bars(axes, names[order], values[order], None if errors is None else errors[order], label, "population")
    axes.axvline(whole, color=GREY, linestyle="--", linewidth=1.2, label="all samples")
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="lower right")


def draw_cosines(axes: Axes, names: np.ndarray, cosines: np.ndarray | None, title: str) -> None:
    """Draws a matrix of cosines `(B, B)` in colors from -1 to 1, with numbers where they can be read."""
    assert cosines is not None  # a result with populations holds them
    image = axes.imshow(cosines, cmap="RdBu", vmin=-1, vmax=1)
    axes.grid(visible=False)
    _name_ticks(axes, names, "x")
    _name_ticks(axes, names, "y")
    axes.tick_params(axis="x", rotation=90)
    axes.set_title(title, fontsize=10)
    if len(names) <= MAX_CELLS:
        for (row, column), value in np.ndenumerate(cosines):
            color = "white" if abs(value) > WHITE_BEYOND else "black"
            axes.text(
                column, row, f"{round(float(value), 1) + 0.0:.1f}", ha="center", va="center", fontsize=6, color=color
            )
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)


def _name_ticks(axes: Axes, names: np.ndarray, which: str) -> None:
    size = 8 if len(names) <= MAX_BARS // 2 else 6
    words = [clean(str(name)) for name in names]
    setter = axes.set_xticks if which == "x" else axes.set_yticks
    setter(np.arange(len(words)), words, fontsize=size, parse_math=False)


def _curvature_cosine(result: PopulationColumns) -> np.ndarray | None:
    cosines: np.ndarray | None = getattr(result, "curvature_cosine", None)
    return cosines
