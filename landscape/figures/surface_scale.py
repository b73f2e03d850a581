"""The color scale of the losses on several planes, and the bar that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.figures.style import COLOR_MAP, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from landscape.analyses.surfaces.result import SurfaceResult

MAX_DECADES = 6  # above the lowest loss that colors tell apart; higher losses are clipped, and the bar says so
MIN_LOG_RATIO = 3  # of the highest to the lowest loss: a logarithmic scale of a smaller range has no ticks
MAJOR_RATIO = 30  # of the ends of a logarithmic scale, from which powers of ten are ticks enough
FLATNESS_TOLERANCE = 1e-10  # relative: losses that differ by less have one color


def loss_planes(result: SurfaceResult) -> list[np.ndarray]:
    """The losses of each plane, or line, of a result."""
    return list(result.loss) if result.seed is not None else [result.loss]


def axis_label(result: SurfaceResult, name: str) -> str:
    """The name of an axis; if it comes from a trajectory, with the share of the variance along it."""
    explained = getattr(result, f"explained_{name}")
    return name if explained is None else f"{name} ({100 * explained:.3g} % of the variance)"


def loss_scale(planes: Sequence[np.ndarray], ends: tuple[float, ...] = ()) -> Normalize:
    """One scale for all planes: logarithmic if every loss is positive, and clipped `MAX_DECADES` above the lowest.

    `ends` are the losses at its ends, where they are given.
    """
    from matplotlib.colors import LogNorm, Normalize

    if ends:
        low, high = ends
        return LogNorm(low, high) if low > 0 and high >= MIN_LOG_RATIO * low else Normalize(low, high)
    finite = np.concatenate([plane[np.isfinite(plane)].ravel() for plane in planes])
    if not len(finite):
        return Normalize(0, 1)
    low, high = float(finite.min()), float(finite.max())
    if high - low <= FLATNESS_TOLERANCE * max(abs(low), abs(high)):
        return Normalize(low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2)
    if low <= 0 or high < MIN_LOG_RATIO * low:
        return Normalize(low, high)
    return LogNorm(low, min(high, low * 10.0**MAX_DECADES))


def draw_color_bar(axes: Sequence[Axes], norm: Normalize, planes: Sequence[np.ndarray], height: float) -> None:
    """Draws the bar beside panels whose `height` is relative to their space; its label names the loss it clips at."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter

    finite = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    above, below = bool((finite > high).any()), bool((finite < low).any())
    ends = " and ".join([f"{end:.3g}" for end, cut in ((low, below), (high, above)) if cut])
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}.get((above, below), "neither")
    label = f"loss, clipped at {ends}" if ends else "loss"
    mappable = ScalarMappable(norm, COLOR_MAP)
    bar = axes[0].figure.colorbar(mappable, ax=list(axes), label=label, shrink=height, extend=extend, pad=0.02)
    if isinstance(norm, LogNorm) and high > MAJOR_RATIO * low:
        bar.ax.yaxis.set_minor_formatter(NullFormatter())  # unseen labels would take room


def set_log_if_wide(axes: Axes, losses: np.ndarray) -> None:
    """Sets the vertical axis logarithmic for positive losses of a wide range; marks 0 if the losses change sign."""
    finite = losses[np.isfinite(losses)]
    if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min():
        axes.set_yscale("log")
    elif len(finite) and finite.min() < 0 < finite.max():
        axes.axhline(0, color=GREY, linewidth=0.5)
