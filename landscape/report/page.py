"""The frame of a page: title, contents, sections, style and script, with nothing that lies elsewhere."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from landscape.report.markup import Html, element, join, text
from landscape.storage.provenance import version_of

GENERATOR = "landscape report"  # by which files of this kind are recognized: landscape.storage.paths knows it
PACKED = "plotly"  # the id of the packed library in the page
COMPRESSION = 9  # of gzip: a page is written once and opened often


@dataclass(frozen=True)
class Section:
    """A part of a page: its title, its content, and its own parts, which the contents list unless `listed` is False."""

    title: str
    content: Html = Html()
    parts: tuple[Section, ...] = ()
    listed: bool = True


@dataclass(frozen=True)
class Library:
    """The source of the program that draws the charts in the browser."""

    source: str


def build_page(title: str, lead: Iterable[Html], sections: Sequence[Section], library: Library | None = None) -> str:
    """A whole page as text: it refers to nothing outside of itself, and its policy forbids to load anything.

    The library is packed and unpacked by the page's script. The policy names the hashes of the two programs that may
    run, so that no other does.
    """
    script = Html(_own("page.js"))
    programs = [script, *([library.source] if library else [])]
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(programs)),
        element("meta", name="generator", content=f"{GENERATOR} {version_of('loss-landscape-geometry')}"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(_own("page.css"))),
    ]
    packed = [element("script", _pack(library.source), type="text/plain", id=PACKED)] if library else []
    body = [
        element("a", "To the content", href="#content", class_="skip"),
        element("header", element("h1", title), *lead),
        _contents(sections),
        element("main", *(_section(one, (place,)) for place, one in enumerate(sections, 1)), id="content"),
        *packed,
        element("script", script),
    ]
    page = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _policy(programs: Iterable[str]) -> str:
    """A Content-Security-Policy: nothing is loaded, and only these programs run."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(program.encode()).digest()).decode()}'" for program in programs)
    rules = ("default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data: blob:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _contents(sections: Sequence[Section]) -> Html:
    """The list of the sections and their parts, with links to them; nothing for a page of one section."""
    if len(sections) < 2:
        return Html()
    lines = []
    for place, section in enumerate(sections, 1):
        parts = [
            element("li", element("a", part.title, href=f"#{_anchor((place, inner))}"))
            for inner, part in enumerate(section.parts if section.listed else (), 1)
        ]
        inside = element("ol", *parts) if parts else Html()
        lines.append(element("li", element("a", section.title, href=f"#{_anchor((place,))}"), inside))
    return element("nav", element("h2", "Contents"), element("ol", *lines), aria_label="Contents")


def _section(section: Section, place: tuple[int, ...]) -> Html:
    """A section with a numbered heading of its level, and its parts."""
    number = ".".join(map(str, place))
    heading = element(f"h{len(place) + 1}", element("span", number, class_="place"), " ", section.title)
    parts = (_section(part, (*place, inner)) for inner, part in enumerate(section.parts, 1))
    return element("section", heading, section.content, *parts, id=_anchor(place))


def _anchor(place: tuple[int, ...]) -> str:
    return "s" + "-".join(map(str, place))


@cache
def _own(name: str) -> str:
    """A file of this package."""
    return files("landscape.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _pack(source: str) -> Html:
    """A program compressed and in letters: a third of its size, and nothing in it is markup."""
    return Html(b64encode(gzip.compress(source.encode(), COMPRESSION, mtime=0)).decode())


def notice(title: str, *content: object, kind: str = "note") -> Html:
    """A box with a title: a remark, or with the kind "problem" something that is wrong."""
    return element("div", element("p", element("strong", title)), *content, class_=f"notice {kind}", role="note")


def paragraphs(lines: Iterable[object]) -> Html:
    """Each line as a paragraph."""
    return join(element("p", text(line)) for line in lines)
