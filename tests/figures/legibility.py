"""What a reader would miss in a figure: legends on data, names that overprint, text outside, and text too small."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.text import Text
from matplotlib.transforms import Bbox

SMALLEST = 5.5  # points
SLACK = 1.0  # pixels


def covers(one: Bbox, other: Bbox) -> bool:
    """Whether two boxes overlap by more than the slack."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(width > SLACK and height > SLACK)


def faults(figure: Any) -> list[str]:
    """Sentences about what cannot be read in a figure."""
    figure.draw_without_rendering()
    found, unseen = [], set()
    for axes in figure.axes:
        inside, heading = axes.get_window_extent(), axes.title
        legend = axes.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            if covers(box, inside):
                found.append("a legend covers its panel")
            elif any(covers(box, other.get_window_extent()) for other in figure.axes):
                found.append("a legend covers another panel, or a color bar")
            if heading.get_text() and covers(box, heading.get_window_extent()):
                found.append(f"a legend covers the heading {heading.get_text()!r}")
        for axis in (axes.xaxis, axes.yaxis, *([axes.zaxis] if axes.name == "3d" else [])):
            drawn = [] if axes.name == "3d" else ticks_in_view(axis)
            unseen |= {label for label in axis.get_ticklabels(which="both") if label not in drawn}
            found += overprinted([label for label in drawn if shown(label)])
    texts = [text for text in figure.findobj(Text) if shown(text) and text not in unseen]
    small = [text for text in texts if text.get_fontsize() < SMALLEST]
    found += [f"{text.get_text()!r} is of {text.get_fontsize():.3g} points" for text in small]
    frame = figure.bbox.padded(2)
    for text in texts:
        box = text.get_window_extent()
        if box.width and not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1):
            found.append(f"{text.get_text()!r} leaves the figure")
    return found


def ticks_in_view(axis: Any) -> list[Text]:
    """The labels of ticks between the ends of an axis: matplotlib keeps some beyond, and does not draw them."""
    place = axis.get_transform().transform
    low, high = sorted(place(axis.get_view_interval()))
    slack = 1e-6 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if low - slack <= place([tick.get_loc()])[0] <= high + slack]


def shown(text: Text) -> bool:
    return bool(text.get_visible() and text.get_text().strip())


def overprinted(labels: list[Text]) -> list[str]:
    """Pairs of names beside an axis that stand on each other; slanted ones are not looked at."""
    straight = [label for label in labels if label.get_rotation() % 90 == 0]
    boxes = [(label.get_text(), label.get_window_extent()) for label in straight]
    return [f"{one!r} and {other!r} overprint" for (one, a), (other, b) in combinations(boxes, 2) if covers(a, b)]
