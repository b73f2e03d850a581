"""Pictures that take the colors of the page they stand in: SVG within the page, with text as text."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from landscape import figures
from landscape.figures import style
from landscape.report.markup import Html, element

INK = "#010203"  # stands for the color of the page's text: no figure uses it
MAX_DRAWING = 350_000  # bytes of an SVG; a larger one becomes an image of points
COLORS = {  # of the figures, by the page's names for them
    style.BLUE: "--blue", style.ORANGE: "--orange", style.GREEN: "--green", style.GREY: "--grey",
    style.PURPLE: "--purple", style.YELLOW: "--yellow", style.SKY: "--sky", INK: "--ink", "#000000": "--ink",
}  # fmt: skip
SETTINGS: Mapping[str, Any] = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.facecolor": "none", "legend.framealpha": 0.0, "axes.titlecolor": INK,
}  # fmt: skip
GROUP_ID = re.compile(r'<g id="[^"]*"')  # nothing refers to groups, and pages hold several pictures
PROLOG = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
ROOT = re.compile(r"<svg\b[^>]*?(viewBox=\"[^\"]*\")[^>]*>", re.DOTALL)
SPACES = re.compile(r">\s+<")
OWN_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)  # its rules would hold for the whole page


def picture_of(result: Any, beside: Mapping[str, Any], name: str, description: str) -> Html:
    """The picture of a result in a frame with its description, which readers of screens hear; nothing without one.

    `name` tells its parts from those of other pictures in the page.
    """
    if not figures.drawn(result):
        return Html()
    drawing = figures.drawing(result, beside, style={**SETTINGS, "svg.hashsalt": name})
    if len(drawing) <= MAX_DRAWING:
        return _inline(drawing, description)
    return element("img", alt=description, src=_data_of(figures.picture(result)))


def overlay_of(results: Sequence[Mapping[str, Any]], labels: Sequence[str], description: str) -> Html:
    """The picture of what several checkpoints all have; nothing if there is nothing."""
    drawing = figures.overlay_drawing(results, labels, style={**SETTINGS, "svg.hashsalt": "overlay"})
    return Html() if drawing is None else _inline(drawing, description)


def _data_of(image: bytes) -> str:
    return f"data:image/png;base64,{b64encode(image).decode()}"


def _inline(drawing: bytes, description: str) -> Html:
    """matplotlib's SVG as an element of a page: its texts are escaped by matplotlib."""
    svg = OWN_STYLE.sub("", METADATA.sub("", PROLOG.sub("", drawing.decode())))
    for color, variable in COLORS.items():
        svg = re.sub(re.escape(color), f"var({variable})", svg, flags=re.IGNORECASE)
    svg = SPACES.sub("><", GROUP_ID.sub("<g", svg))
    start = str(element("svg", class_="drawing", role="img", aria_label=description)).removesuffix("></svg>")
    return Html(ROOT.sub(lambda found: f"{start} {found[1]}>", svg, count=1))
