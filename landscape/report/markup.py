"""HTML whose texts are escaped as it is made: an element takes texts, which it escapes, and other elements."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

from landscape.errors import clean

VOID = ("br", "img", "input", "meta")  # elements without content


class Html(str):
    """Markup. Only `element`, `join` and `as_data` make it of texts that may come from a file."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as markup: markup stays, everything else is escaped, in one printable line.

    >>> text("a<b>")
    'a&lt;b&gt;'
    """
    return value if isinstance(value, Html) else Html(escape(clean(str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
    """The parts one after the other; texts between markup are escaped."""
    return Html(escape(between).join(text(part) for part in parts))


def element(tag: str, *content: object, **attributes: object) -> Html:
    """An element with its content; attributes that are None or False are left out, those that are True have no value.

    `class_` stands for `class`, and underscores for hyphens.

    >>> element("td", "1 < 2", class_="number")
    '<td class="number">1 &lt; 2</td>'
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        words.append(spelled if value is True else f'{spelled}="{text(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Html(start if tag in VOID else f"{start}{join(content)}</{tag}>")


def as_data(value: Any) -> Html:
    """A value as JSON that no parser of HTML ends early: for the content of a script that is data."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Html(written.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def table(
    caption: str, head: Sequence[object], rows: Iterable[Sequence[object]], *, texts: Collection[int] = (0,)
) -> Html:
    """A table in a box in which it scrolls; the first cell of a row is its head.

    The columns `texts` are aligned on the left, those of numbers on the right.
    """
    sides = ["text" if place in texts else None for place in range(len(head))]
    heads = [element("th", cell, scope="col", class_=side) for cell, side in zip(head, sides, strict=True)]
    lines = []
    for first, *cells in rows:
        own = [element("td", cell, class_=side) for cell, side in zip(cells, sides[1:], strict=True)]
        lines.append(element("tr", element("th", first, scope="row", class_=sides[0]), *own))
    content = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *lines),
        class_="words" if len(texts) == len(head) else None,
    )
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(rows: Iterable[tuple[object, object]]) -> Html:
    """Names with their values, as a list of descriptions."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in rows))


def items(entries: Iterable[object]) -> Html:
    """A list with these entries; nothing if there are none."""
    lines = [element("li", entry) for entry in entries]
    return element("ul", *lines) if lines else Html()


def fold(title: object, *content: object) -> Html:
    """Content that its reader unfolds; on paper it is unfolded."""
    return element("details", element("summary", title), *content)
