"""Texts of figures: names as matplotlib shows them, headings and labels that fit, and legends that cover no data."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from landscape.errors import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LETTERS = 56  # of a name in a title or legend
LETTER = 0.52  # mean width of a letter, relative to the size of the text
WIDE_LETTER = 0.6  # the same of names with few narrow letters
LINE = 1.3  # distance of lines, relative to the size of the text
HANDLE = 3.5  # width of a line in a legend with the space around it, relative to the size of the text
NAMES_SHARE = 0.3  # of a panel's width: names of bars are cut to it, since they narrow the panels above, too
MAX_COLUMNS = 3  # of a legend
PANEL_SHARE = (0.83, 0.68)  # of the width and height that a panel has with its labels and legend
OVERHANG = 1.1  # of a legend, relative to the width of its panel: it may stand above labels, too


def legend_text(text: str) -> str:
    """A name as matplotlib shows it: dollars begin no math, and a name that begins with _ is not left out."""
    return f"{' ' * text.startswith('_')}{clean(text)}".replace("$", r"\$")


def shorten(text: str, letters: int = MAX_LETTERS) -> str:
    """Text for a title or legend, of which the middle of a long one is left out."""
    return legend_text(cut(clean(text), letters))


def cut(text: str, letters: int) -> str:
    """A text of at most so many letters: the middle of a longer one is left out."""
    half = (letters - 3) // 2
    return text if len(text) <= letters else f"{text[:half]}...{text[-half:]}"


def tell_apart(names: Sequence[str], letters: int) -> list[str]:
    """The names with at most so many letters: of longer ones parts between dots that tell nothing apart are left out.

    The last part stays, and so do numbers: `model.layers.0.self_attn.v_proj` becomes `0.v_proj` beside its likes. What
    is still too long loses its middle.

    >>> tell_apart(["model.layers.0.mlp.up", "model.layers.1.mlp.up", "model.norm"], 8)
    ['0.mlp.up', '1.mlp.up', 'norm']
    """
    parts = [name.split(".") for name in names]
    words = {word for name in parts for word in name[:-1] if not word.isdecimal()}
    for word in sorted(words, key=lambda word: (-len(word), word)):
        if max(map(len, map(".".join, parts)), default=0) <= letters:
            break
        shorter = [[one for one in name[:-1] if one != word] + name[-1:] for name in parts]
        if len(set(map(tuple, shorter))) == len(set(names)):
            parts = shorter
    return [cut(".".join(name), letters) for name in parts]


def font_size(name: str) -> float:
    """The size in points of a text of relative size: `small` with the style that is set."""
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=name).get_size_in_points())


def panel_size(axes: Axes) -> tuple[float, float]:
    """The width and height of a panel in points; an estimate where its labels are still to be arranged."""
    spec, figure = axes.get_subplotspec(), axes.figure
    points = 72 / figure.dpi
    if spec is None or figure.get_layout_engine() is None:
        box = axes.get_window_extent()
        return float(box.width * points), float(box.height * points)
    rows, columns = spec.get_gridspec().get_geometry()
    width, height = (part * points for part in figure.bbox.size)
    return float(PANEL_SHARE[0] * width / columns), float(PANEL_SHARE[1] * height / rows)


def letters_beside(axes: Axes, size: str) -> int:
    """The letters that a name beside a panel may have."""
    return max(12, int(NAMES_SHARE * panel_size(axes)[0] / (LETTER * font_size(size))))


def tick_names(axes: Axes, names: list[str], size: str) -> list[str]:
    """Names for the ticks of a panel, cut to what has room beside it; they are to be set without math."""
    letters = letters_beside(axes, size)
    return tell_apart([clean(name) for name in names], letters)


def set_heading(axes: Axes, text: str, *, math: bool = True) -> None:
    """Writes a heading above a panel, in as many lines as it needs; without `math`, dollars are dollars."""
    letters = max(20, int(panel_size(axes)[0] / (LETTER * font_size("medium"))))
    lines = [part for line in text.split("\n") for part in wrap(line, letters, break_long_words=False)]
    axes.set_title("\n".join(lines), fontsize="medium", parse_math=math)


def set_label(axes: Axes, which: str, text: str) -> None:
    """Writes the label of the x or y axis, in as many lines as it needs."""
    from matplotlib import rcParams

    room = panel_size(axes)[which == "y"]
    letters = max(16, int(1.08 * room / (LETTER * font_size(rcParams["axes.labelsize"]))))
    lines = "\n".join(wrap(text, letters, break_long_words=False, break_on_hyphens=False))
    (axes.set_xlabel if which == "x" else axes.set_ylabel)(lines)


def draw_legend(axes: Axes, most_columns: int = MAX_COLUMNS, share: float = 1.0) -> None:
    """Draws the legend between the panel and its heading, where it covers no data; nothing without labels.

    It is to be drawn after the heading is set, which it lifts. Its columns have a share of the panel's width.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    size, room = font_size("small"), panel_size(axes)[0]
    letters = max(16, int((OVERHANG * room / size - HANDLE) / WIDE_LETTER))
    labels = [label if "$" in label else cut(label, letters) for label in labels]
    widest = size * (LETTER * max(map(_length, labels)) + HANDLE)
    columns = max(1, min(len(labels), most_columns, int(OVERHANG * share * room // widest)))
    axes.legend(
        handles, labels, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False,
        columnspacing=1.0, handletextpad=0.5, labelspacing=0.25, borderpad=0.2, borderaxespad=0.2,
    )  # fmt: skip
    rows = math.ceil(len(labels) / columns)
    height = size * (LINE * rows + 1.0)
    axes.set_title(axes.get_title(), fontsize=axes.title.get_fontsize(), pad=height)


def _length(label: str) -> int:
    """About how many letters wide a label is, whose math has words of TeX."""
    return len(re.sub(r"\\[a-zA-Z]+|[\\{}$^_]", "x", label)) if "$" in label else len(label)
