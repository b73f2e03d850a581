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
DARK = 0.3  # brightness below which a line is hard to see on a dark page
ONE_PANEL = 400  # points: wider pictures have panels beside each other
LETTERS = 1.3  # pixels of the page for a point of the picture at most, or its letters become large
PALETTE = {
    "blue": style.BLUE, "orange": style.ORANGE, "green": style.GREEN, "grey": style.GREY, "purple": style.PURPLE,
    "yellow": style.YELLOW, "sky": style.SKY,
}  # fmt: skip
COLORS = {color.lower(): f"var(--{name})" for name, color in PALETTE.items()}  # of the page, by those of figures
COLORS |= dict.fromkeys((INK, "#000000"), "var(--ink)")
SETTINGS: Mapping[str, Any] = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.facecolor": "none", "legend.framealpha": 0.0, "axes.titlecolor": INK,
}  # fmt: skip
GROUP_ID = re.compile(r'<g id="[^"]*"')  # nothing refers to groups, and pages hold several pictures
PROLOG = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
ROOT = re.compile(r"<svg\b[^>]*?viewBox=\"(?P<box>[^\"]*)\"[^>]*>", re.DOTALL)
COLOR = re.compile(r"(?<=: )#[0-9a-fA-F]{6}\b")  # in styles
SPACES = re.compile(r">\s+<")
OWN_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)  # its rules would hold for the whole page


def picture_of(result: Any, beside: Mapping[str, Any], name: str, description: str) -> Html:
    """The picture of a result in a frame with its description, which readers of screens hear; nothing without one.

    `name` tells its parts from those of other pictures in the page.
    """
    if not figures.drawn(result):
        return Html()
    drawing = figures.drawing(result, beside, page={**SETTINGS, "svg.hashsalt": name})
    if len(drawing) <= MAX_DRAWING:
        return _inline(drawing, description)
    return element("img", alt=description, src=_data_of(figures.picture(result)))


def overlay_of(results: Sequence[Mapping[str, Any]], labels: Sequence[str], description: str) -> Html:
    """The picture of what several checkpoints all have; nothing if there is nothing."""
    drawing = figures.overlay_drawing(results, labels, page={**SETTINGS, "svg.hashsalt": "overlay"})
    return Html() if drawing is None else _inline(drawing, description)


def _data_of(image: bytes) -> str:
    return f"data:image/png;base64,{b64encode(image).decode()}"


def _inline(drawing: bytes, description: str) -> Html:
    """matplotlib's SVG as an element of a page: its texts are escaped by matplotlib."""
    svg = OWN_STYLE.sub("", METADATA.sub("", PROLOG.sub("", drawing.decode())))
    svg = COLOR.sub(lambda found: _in_page(found[0].lower()), svg)
    svg = SPACES.sub("><", GROUP_ID.sub("<g", svg))
    frame = ROOT.search(svg)
    assert frame is not None
    width = float(frame["box"].split()[2])
    form = "drawing wide" if width > ONE_PANEL else "drawing"
    start = element(
        "svg", class_=form, role="img", aria_label=description, viewBox=frame["box"],
        style=f"max-width: {LETTERS * width:.0f}px",
    )  # fmt: skip
    return Html(svg[: frame.start()] + start.removesuffix("</svg>") + svg[frame.end() :])


def _in_page(color: str) -> str:
    """A color of a picture as one of the page; a dark one is lifted where the page is dark."""
    if color in COLORS:
        return COLORS[color]
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    is_dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < DARK
    return f"color-mix(in srgb, {color}, var(--ink) var(--lift))" if is_dark else color
