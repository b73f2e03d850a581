"""Pictures of results: each kind has a module that draws it on given matplotlib axes; saving is separate.

    from landscape import figures
    figures.draw(result, ax)                                    # what result.plot(ax) does
    figures.save(result, "a.pdf", width=8.4, title="")          # for a column of a paper
    figures.panel_names(result)                                 # which panels can be asked for

Names are imported on first use (PEP 562): descriptions of figures need neither NumPy nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.figures.canvas import draw as draw
    from landscape.figures.canvas import drawing as drawing
    from landscape.figures.canvas import picture as picture
    from landscape.figures.look import Look as Look
    from landscape.figures.overlay import OVERLAID as OVERLAID
    from landscape.figures.registry import FIGURES as FIGURES
    from landscape.figures.registry import drawn as drawn
    from landscape.figures.registry import panel_names as panel_names
    from landscape.figures.saving import FORMATS as FORMATS
    from landscape.figures.saving import overlay_drawing as overlay_drawing
    from landscape.figures.saving import save as save
    from landscape.figures.saving import save_histories as save_histories
    from landscape.figures.saving import save_overlay as save_overlay
    from landscape.figures.saving import save_surfaces as save_surfaces

HOMES = {
    "FIGURES": "registry",
    "FORMATS": "saving",
    "Look": "look",
    "OVERLAID": "overlay",
    "draw": "canvas",
    "drawing": "canvas",
    "drawn": "registry",
    "overlay_drawing": "saving",
    "panel_names": "registry",
    "picture": "canvas",
    "save": "saving",
    "save_histories": "saving",
    "save_overlay": "saving",
    "save_surfaces": "saving",
}
__all__ = [
    "FIGURES",
    "FORMATS",
    "OVERLAID",
    "Look",
    "draw",
    "drawing",
    "drawn",
    "overlay_drawing",
    "panel_names",
    "picture",
    "save",
    "save_histories",
    "save_overlay",
    "save_surfaces",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'landscape.figures' has no attribute {name!r}")
    return getattr(importlib.import_module(f"landscape.figures.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
