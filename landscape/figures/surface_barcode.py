"""The barcode of a surface: a bar for each minimum, from its loss to the loss at which its basin merges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.errors import UsageError
from landscape.figures.style import BLUE, GREY, ORANGE
from landscape.figures.surface_scale import loss_planes
from landscape.figures.texts import set_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.analyses.surfaces.result import SurfaceResult

MAX_BARS = 40  # more cannot be told apart: the most persistent ones are drawn
FEW, MAX_WIDTH = 20, 6.0  # bars whose places are set in letters of full size; the width of a bar, in points
BEYOND = 0.25  # of the range of deaths: how far beyond the highest one a bar without a death goes
LOG_RATIO = 10  # of the largest to the smallest loss drawn, from which the axis is logarithmic


def draw_barcode(result: SurfaceResult, panel: Axes) -> None:
    """Draws the minima of the first plane, the most persistent on top; error bars are those of the persistence.

    Basins that merge into none end with an arrow at the highest loss. Raises UsageError for a result of an earlier
    version, which has no errors.
    """
    if result.minimum_death is None or result.minimum_error is None:
        raise UsageError("the stored surface has no barcode", fix="measure again")
    order = _order(result)
    births, errors = result.minimum_loss[order], result.minimum_error[order]
    deaths, end = result.minimum_death[order], _end(result)
    endless, places = ~np.isfinite(deaths), np.arange(len(order))
    deaths = np.where(endless, end, deaths)
    colors = [ORANGE if one else BLUE for one in endless]
    panel.hlines(places, births, deaths, colors=colors, linewidth=min(MAX_WIDTH, 120 / max(len(order), 1)))
    panel.scatter(births, places, c=colors, s=14)
    panel.errorbar(deaths, places, xerr=np.where(endless, 0, errors), fmt="none", ecolor=GREY, capsize=2, elinewidth=1)
    panel.plot(deaths[endless], places[endless], ">", color=ORANGE, markersize=7)
    for level in result.level[result.level <= end]:
        panel.axvline(level, color=GREY, linestyle=":", linewidth=0.8)
    logarithmic = bool(len(births)) and births.min() > 0 and end > LOG_RATIO * births.min()
    panel.set_xscale("log" if logarithmic else "linear")
    middle = np.sqrt(births.min() * end) if logarithmic else (births.min(initial=end) + end) / 2
    for place in places[~endless]:
        depth = f"{deaths[place] - births[place]:.2g} ± {errors[place]:.1g}"
        _write_beside(panel, depth, births[place], deaths[place], place, to_the_left=births[place] > middle)
    panel.set_yticks(
        places, [_place(result, int(index)) for index in order], fontsize="small" if len(order) < FEW else "xx-small"
    )
    panel.set_ylim(max(len(order), 1) - 0.5, -0.5)
    panel.margins(x=0.12)
    panel.set_xlabel("loss (dotted: levels)")
    panel.set_ylabel("minimum at (alpha" + (", beta)" if result.minimum_beta is not None else ")"))
    set_heading(panel, _title(result, len(order)))


def _write_beside(panel: Axes, text: str, birth: float, death: float, place: int, *, to_the_left: bool) -> None:
    """Writes a text on the side of a bar that has more room."""
    point, offset, side = (birth, -6, "right") if to_the_left else (death, 6, "left")
    panel.annotate(
        text, (point, place), xytext=(offset, 0), textcoords="offset points", va="center", ha=side, fontsize="x-small"
    )


def _order(result: SurfaceResult) -> np.ndarray:
    """The indices of the minima that are drawn: those whose basins merge into none, then the most persistent."""
    persistence = np.where(np.isfinite(result.minimum_persistence), result.minimum_persistence, np.inf)
    return np.lexsort((result.minimum_loss, -persistence))[:MAX_BARS]


def _end(result: SurfaceResult) -> float:
    """Where bars without a death end: beyond the highest death, or at the highest loss if there is none."""
    assert result.minimum_death is not None
    known = result.minimum_death[np.isfinite(result.minimum_death)]
    losses = loss_planes(result)[0]
    highest = float(losses[np.isfinite(losses)].max(initial=result.centre_loss))
    if not len(known):
        return highest
    lowest = float(result.minimum_loss.min())
    return min(highest, float(known.max()) + BEYOND * (float(known.max()) - lowest))


def _place(result: SurfaceResult, index: int) -> str:
    """Where a minimum lies."""
    beta = "" if result.minimum_beta is None else f", {result.minimum_beta[index]:.2g}"
    return f"({result.minimum_alpha[index]:.2g}{beta})"


def _title(result: SurfaceResult, drawn: int) -> str:
    """How many minima there are, and how many of them are drawn."""
    plane = f" of plane 0 of {len(result.loss)}" if result.seed is not None else ""
    count = f"{result.minima} {'minimum' if result.minima == 1 else 'minima'}"
    return f"{count} beyond rounding{plane}" + (f", the {drawn} most persistent" if drawn < result.minima else "")
