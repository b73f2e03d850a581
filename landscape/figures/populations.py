"""What --by adds to a picture: bars by population, and heat maps of how gradients and curvatures agree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import GREY, SIGNED_MAP, draw_layer_bars, name_size
from landscape.figures.texts import draw_legend, set_heading, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.shared.by_population import PopulationColumns
    from landscape.figures.registry import Panels

MAX_CELLS = 12  # populations up to which a heat map has its numbers written in it
WHITE_BELOW = 0.2  # cosine of cells so dark that their numbers are white


def population_panels(
    result: PopulationColumns, values: np.ndarray | None, errors: np.ndarray | None, whole: float, label: str
) -> Panels:
    """Bars of `values (B,)` with their errors beside that of all samples, and how gradients and curvatures agree.

    There are none without --by, and none of curvatures if the result does not hold them.
    """
    if result.population is None or values is None:
        return {}
    names = result.population
    panels: dict[str, Callable[[Axes], None]] = {
        "populations": partial(draw_bars, names=names, values=values, errors=errors, whole=whole, label=label),
        "gradient-cosines": partial(
            draw_cosines, names=names, cosines=result.gradient_cosine, title="cosine of gradients"
        ),
    }
    curvature: np.ndarray | None = getattr(result, "curvature_cosine", None)
    if curvature is not None:
        panels["curvature-cosines"] = partial(
            draw_cosines, names=names, cosines=curvature, title="cosine of curvatures"
        )
    return panels


def draw_bars(
    axes: Axes, names: np.ndarray, values: np.ndarray, errors: np.ndarray | None, whole: float, label: str
) -> None:
    """Draws a bar for each population, the largest on top, and a line at the value of all samples."""
    order = np.argsort(-values)
    draw_layer_bars(axes, names[order], values[order], None if errors is None else errors[order], label, "population")
    axes.axvline(whole, color=GREY, linestyle="--", linewidth=1.2, label="all samples")
    draw_legend(axes)


def draw_cosines(axes: Axes, names: np.ndarray, cosines: np.ndarray | None, title: str) -> None:
    """Draws a matrix of cosines `(B, B)` in colors from -1 to 1, with numbers where they can be read."""
    assert cosines is not None  # a result with populations holds them
    image = axes.imshow(cosines, cmap=SIGNED_MAP, vmin=-1, vmax=1)
    axes.grid(visible=False)
    _name_ticks(axes, names, "x")
    _name_ticks(axes, names, "y")
    axes.tick_params(axis="x", rotation=90)
    set_heading(axes, title)
    if len(names) <= MAX_CELLS:
        for (row, column), value in np.ndenumerate(cosines):
            color = "white" if value < WHITE_BELOW else "black"
            axes.text(
                column, row, f"{round(float(value), 1) + 0.0:.1f}", ha="center", va="center", fontsize="x-small",
                color=color,
            )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)


def _name_ticks(axes: Axes, names: np.ndarray, which: str) -> None:
    size = name_size(len(names))
    words = tick_names(axes, list(map(str, names)), size)
    setter = axes.set_xticks if which == "x" else axes.set_yticks
    setter(np.arange(len(words)), words, fontsize=size, parse_math=False)
