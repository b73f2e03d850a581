"""The whole page: everything that belongs into it, escaped, offline, accessible and small."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsed_page import ParsedPage
from reported import hostile_page, only

import landscape
from landscape.report.markup import element
from landscape.report.page import Library, Section
from landscape.report.report import INTERACTIVE, STATIC, library_script, report_page
from landscape.report.sources import ReportSources, Unread, read_sources
from landscape.storage.read import StoredResult

ADDRESSES = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
MOST = 6_000_000  # bytes of a page for a usual set


@pytest.fixture(scope="module")
def sources(measured: Path) -> ReportSources:
    return read_sources([measured])


@pytest.fixture(scope="module")
def page(sources: ReportSources) -> ParsedPage:
    return ParsedPage(report_page(sources, library=Library("drawn()")))


def test_all_parts_of_a_report_are_there(page: ParsedPage) -> None:
    headings = [re.sub(r"^[\d.]+ ", "", one.text) for one in page.named("h2")]
    assert headings == [
        "Contents", "What was measured", "Side by side", "Results of run-2", "Results of run-10", "Glossary",
        "Provenance", "How to reproduce",
    ]  # fmt: skip
    assert len(page.named("figure")) == 8  # five, two, and one of both
    assert len([one for one in page.elements if one.attributes.get("class") == "level"]) == 2


def test_nothing_lies_elsewhere(page: ParsedPage) -> None:
    for one in page.elements:
        for name in ADDRESSES:
            value = one.attributes.get(name, "#")
            assert value.startswith(("#", "data:image/png;base64,")), (one.tag, name, value[:60])
    styles = " ".join(one.attributes.get("style", "") for one in page.elements) + page.named("style")[0].text
    assert set(re.findall(r"url\((.)", styles)) <= {"#"}
    assert "@import" not in styles
    assert not page.named("link") + page.named("iframe") + page.named("object")


def test_ids_are_unique_links_lead_somewhere_and_labels_name_their_controls(page: ParsedPage) -> None:
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    links = {one.attributes["href"].removeprefix("#") for one in page.named("a")}
    controls = {one.attributes["id"] for one in page.named("input")}
    assert links <= set(ids)
    assert controls == {one.attributes["for"] for one in page.named("label")}
    plots = [
        one for one in page.elements if one.attributes.get("class", "").startswith("plot") and "role" in one.attributes
    ]
    assert {one.attributes["data-chart"] for one in plots} <= set(ids)
    for one in [*page.named("svg"), *plots]:
        assert one.attributes["aria-label"]
    assert all(one.attributes.get("scope") for one in page.named("th"))


def test_headings_descend_one_level_at_a_time(page: ParsedPage) -> None:
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_charts_hold_the_eigenvalues(page: ParsedPage, first: Any) -> None:
    (data, *_) = [json.loads(one.text) for one in page.named("script") if '"rank"' in one.text]
    drawn = [value for trace in data["data"] for value in trace["y"]]
    np.testing.assert_allclose(sorted(drawn), sorted(first.eig.eigenvalues), rtol=1e-5)


def test_without_the_library_pictures_are_static_and_the_page_says_so(sources: ReportSources) -> None:
    static = ParsedPage(report_page(sources))
    assert STATIC in [one.text for one in static.named("p")]
    assert not [one for one in static.elements if one.attributes.get("class", "").startswith("plot")]
    assert len(static.named("figure")) == 8


def test_a_page_with_plotly_is_small_enough(sources: ReportSources) -> None:
    library = library_script()
    assert library is not None
    written = report_page(sources, library=library)
    assert INTERACTIVE in written
    assert written.count('id="plotly"') == 1
    assert len(written.encode()) < MOST


def test_hostile_names_are_text_everywhere(first: Any) -> None:
    page = ParsedPage(hostile_page(first, Library("drawn()"), "eig", "sharpness", "trace"))
    programs = [one for one in page.named("script") if one.attributes.get("type") != "application/json"]
    assert len(programs) == 2  # the page's own, and the packed library
    for one in page.named("script"):
        if one not in programs:
            json.loads(one.text)
    assert not page.named("img")
    assert not [one for one in page.elements if "onerror" in one.attributes]
    assert any("window.hacked" in one.text for one in page.named("dd"))
    assert any("window.hacked" in one.text for one in page.named("text"))


def test_missing_files_and_unfinished_work_stand_at_the_top(first: Any) -> None:
    bad = Unread("bad.landscape.h5", "it is damaged\n  fix:  measure again")
    more = ReportSources((only(first, "trace"),), (bad,), (Path("a.eig.partial"),))
    page = ParsedPage(report_page(more))
    notices = [one for one in page.elements if one.attributes.get("class", "").startswith("notice")]
    assert [one.inside[-1] for one in notices[:2]] == ["header", "header"]
    assert "bad.landscape.h5: it is damaged; fix:  measure again" in notices[0].text
    assert "a.eig.partial" in notices[1].text


def test_inconclusive_results_say_why_and_what_helps(first: Any) -> None:
    broken = replace(first.eig, converged=np.zeros(3, dtype=bool))
    page = ParsedPage(report_page(ReportSources((replace(only(first, "eig"), records={"eig": broken}),))))
    (notice,) = [
        one for one in page.elements if "problem" in one.attributes.get("class", "") and "converged" in one.text
    ]
    assert "0 of 3 eigenvalues converged" in notice.text
    assert f"What helps: {broken.trouble().fix}" in notice.text


def test_results_of_other_data_are_told(first: Any) -> None:
    first = only(first, "eig", "trace")
    groups = dict(first.groups)
    groups["eig"] = StoredResult(groups["eig"].values, {**groups["eig"].attributes, "data_sha256": "f" * 64})
    page = ParsedPage(report_page(ReportSources((replace(first, groups=groups),))))
    assert any("Not all of these results are of the same data" in one.text for one in page.named("strong"))


def test_other_sections_stand_behind_the_results(first: Any) -> None:
    extra = Section("Along training", element("p", "a track"))
    headings = [
        one.text for one in ParsedPage(report_page(ReportSources((only(first, "trace"),)), extra=[extra])).named("h2")
    ]
    assert [one.partition(" ")[2] for one in headings][2:5] == ["Results of run-2", "Along training", "Glossary"]


def test_side_by_side_has_only_what_two_have(first: Any, measured: Path) -> None:
    second = landscape.read(measured / "run-10.landscape.h5")
    page = ParsedPage(report_page(ReportSources((only(first, "eig", "trace"), only(second, "eig")))))
    (beside,) = [one for one in page.named("table") if one.text.startswith("Several checkpoints")]
    assert "eig.eigenvalues[0]" in beside.text
    assert "trace.trace" not in beside.text
