"""The frame of a page: nothing is loaded, only its own programs run, and headings are in order."""

from __future__ import annotations

import gzip
import re
from base64 import b64decode, b64encode
from hashlib import sha256

from conftest import ROOT
from parsed_page import ParsedPage

from landscape.report.markup import element
from landscape.report.page import Library, Section, build_page, notice, paragraphs

LIBRARY = Library("window.Plotly = {}; // </script> é")
SECTIONS = [Section("First", element("p", "text"), (Section("Part"),)), Section("Second & last")]
MINIMUM = 4.5  # contrast of text, WCAG 2.2, level AA


def page(library: Library | None = LIBRARY) -> ParsedPage:
    return ParsedPage(build_page("A <title>", [element("p", "lead")], SECTIONS, library))


def test_the_policy_allows_the_pages_programs_and_nothing_else() -> None:
    (meta,) = [one for one in page().named("meta") if one.attributes.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in meta.attributes["content"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    programs = [one.text for one in page().named("script") if "type" not in one.attributes] + [LIBRARY.source]
    hashes = [f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in programs]
    assert sorted(rules["script-src"].split()) == sorted(hashes)
    assert "unsafe" not in rules["script-src"]


def test_the_library_is_packed_once_and_unpacks_to_itself() -> None:
    packed = [one for one in page().named("script") if one.attributes.get("id") == "plotly"]
    assert [gzip.decompress(b64decode(one.text)).decode() for one in packed] == [LIBRARY.source]
    assert not [one for one in page(None).named("script") if one.attributes.get("id") == "plotly"]


def test_headings_descend_one_level_at_a_time_and_are_listed() -> None:
    headings = [one for one in page().elements if re.fullmatch("h[1-6]", one.tag)]
    assert [(one.tag, one.text) for one in headings] == [
        ("h1", "A <title>"), ("h2", "Contents"), ("h2", "1 First"), ("h3", "1.1 Part"), ("h2", "2 Second & last"),
    ]  # fmt: skip
    ids = [one.attributes["id"] for one in page().elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    links = [one.attributes["href"] for one in page().named("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert links == ["#content", "#s1", "#s1-1", "#s2"]


def test_parts_of_a_section_that_is_not_listed_are_left_out_of_the_contents() -> None:
    sections = [Section("First", parts=(Section("Part"),), listed=False), Section("Second")]
    found = ParsedPage(build_page("t", [], sections))
    assert [one.text for one in found.named("a")] == ["To the content", "First", "Second"]


def test_a_page_of_one_section_has_no_contents() -> None:
    assert not ParsedPage(build_page("t", [], SECTIONS[:1])).named("nav")


def test_the_document_has_language_title_and_width() -> None:
    found = page()
    assert found.named("html")[0].attributes["lang"] == "en"
    assert found.named("title")[0].text == "A <title>"
    names = {one.attributes.get("name"): one.attributes.get("content") for one in found.named("meta")}
    assert names["color-scheme"] == "light dark"
    assert "width=device-width" in str(names["viewport"])
    assert str(names["generator"]).startswith("landscape report ")


def test_notices_and_paragraphs_escape() -> None:
    assert "<b>" not in notice("<b>", "<b>", kind="problem") + paragraphs(["<b>"])
    assert "notice problem" in notice("title", kind="problem")


def themes() -> list[dict[str, str]]:
    """The colors of the light page and of the dark one, as the style says."""
    style = (ROOT / "landscape" / "report" / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    found = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(found) == 2
    assert found[0].keys() == found[1].keys()
    return found


def brightness(color: str) -> float:
    """The relative luminance of a color, by WCAG 2.2."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((brightness(first), brightness(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_the_page_in_both_themes() -> None:
    for theme in themes():
        for ink in ("ink", "quiet", "link", "alarm"):
            for ground in ("paper", "box"):
                assert contrast(theme[ink], theme[ground]) >= MINIMUM, (ink, ground)
        for color in ("blue", "orange", "green", "grey"):  # of lines and points: 3 is enough for graphics
            assert contrast(theme[color], theme["paper"]) >= 3, color
