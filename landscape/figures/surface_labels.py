"""Labels of a surface's figure: axes, and names cut to a length that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.errors import clean
from landscape.figures.style import legend_text

if TYPE_CHECKING:
    from landscape.analyses.surfaces.result import SurfaceResult

MAX_LETTERS = 56  # of a name in a title or legend


def axis_label(result: SurfaceResult, name: str) -> str:
    """The name of an axis; if it comes from a trajectory, with the share of the variance along it."""
    explained = getattr(result, f"explained_{name}")
    return name if explained is None else f"{name} ({100 * explained:.3g} % of the variance)"


def shorten(text: str) -> str:
    """Text for a title or legend, of which the middle of a long one is left out."""
    half, text = MAX_LETTERS // 2, clean(text)
    cut = text if len(text) <= MAX_LETTERS else f"{text[:half]}...{text[-half:]}"
    return legend_text(cut)
