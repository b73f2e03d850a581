"""Pictures of results: each kind has a module that draws it on given matplotlib axes; saving is separate."""

from __future__ import annotations

from landscape.figures.registry import FIGURES, drawn
from landscape.figures.saving import FORMATS, save_figure, save_surfaces

__all__ = ["FIGURES", "FORMATS", "drawn", "save_figure", "save_surfaces"]
