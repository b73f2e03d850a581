"""Texts are escaped whatever they are, and markup stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsed_page import ParsedPage

from landscape.report.markup import Html, as_data, element, items, join, table, text

HOSTILE = [
    '<script>alert("1")</script>',
    '" onmouseover="alert(1)',
    "'; --></style>",
    "&lt;b&gt;",
    "a\nb\x1b[31m",
    "\udcff",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_texts_are_neither_elements_nor_attributes(value: str) -> None:
    page = ParsedPage(element("p", value, title=value, data_name=value))
    (only,) = page.elements
    assert (only.tag, set(only.attributes)) == ("p", {"title", "data-name"})
    assert only.text == only.attributes["title"]
    assert only.text.isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_printable_text_is_read_as_it_was_written(value: str) -> None:
    shown = ParsedPage(element("p", value)).elements[0].text
    assert shown == value or not value.isprintable() or "::" in value or "##" in value


def test_markup_is_not_escaped_twice() -> None:
    inner = element("b", "<")
    assert element("p", inner, "<") == "<p><b>&lt;</b>&lt;</p>"
    assert join([inner, "&"], " < ") == "<b>&lt;</b> &lt; &amp;"
    assert isinstance(text(inner), Html)


def test_attributes_that_are_none_or_false_are_left_out() -> None:
    assert element("input", id=None, hidden=False, open=True, class_="a") == '<input open class="a">'


def test_data_end_no_script_and_are_read_back() -> None:
    value = {"name": "</script><!-- & ]]>", "numbers": [1.5, None]}
    written = as_data(value)
    assert not set("<>&") & set(written)
    assert json.loads(written) == value
    with pytest.raises(ValueError, match="JSON"):
        as_data([float("nan")])


def test_tables_name_the_scope_of_their_heads_and_can_be_scrolled_by_keys() -> None:
    page = ParsedPage(table("Caption", ["name", "value"], [["a", 1], ["b", "<2>"]]))
    assert [one.attributes["scope"] for one in page.named("th")] == ["col", "col", "row", "row"]
    assert [one.text for one in page.named("td")] == ["1", "<2>"]
    assert page.named("caption")[0].text == "Caption"
    assert page.elements[0].attributes["tabindex"] == "0"
    assert page.elements[0].attributes["aria-label"] == "Caption"


def test_no_entries_are_no_list() -> None:
    assert items([]) == ""
    assert items(["<"]) == "<ul><li>&lt;</li></ul>"
