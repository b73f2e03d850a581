"""Pictures of results: each kind has a module that draws it on given matplotlib axes; saving is separate."""

from __future__ import annotations

from landscape.figures.registry import FIGURES, drawn
from landscape.figures.saving import (
    FORMATS,
    draw_on,
    drawing,
    overlay_drawing,
    picture,
    save_figure,
    save_histories,
    save_overlay,
    save_surfaces,
)

__all__ = [
    "FIGURES",
    "FORMATS",
    "draw_on",
    "drawing",
    "drawn",
    "overlay_drawing",
    "picture",
    "save_figure",
    "save_histories",
    "save_overlay",
    "save_surfaces",
]
