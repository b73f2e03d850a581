"""Pictures within a page: its colors, no names that occur twice, and names of files that stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from parsed_page import ParsedPage

from landscape.report import pictures
from landscape.report.pictures import overlay_of, picture_of


def test_a_picture_has_a_description_text_and_the_colors_of_the_page(first: Any) -> None:
    page = ParsedPage(picture_of(first.eig, {}, "one", 'spectrum "<b>"'))
    svg = page.elements[0]
    assert (svg.tag, svg.attributes["role"], svg.attributes["aria-label"]) == ("svg", "img", 'spectrum "<b>"')
    assert "rank" in [one.text.strip() for one in page.named("text")]
    styles = " ".join(one.attributes.get("style", "") for one in page.elements)
    assert "var(--blue)" in styles
    assert "var(--ink)" in styles
    assert not {"#0072b2", pictures.INK} & set(re.findall(r"#[0-9a-f]{6}", styles))
    assert not page.named("style") + page.named("metadata")


def test_two_pictures_share_no_id_and_refer_to_their_own(first: Any) -> None:
    pages = [ParsedPage(picture_of(first.density, {}, name, "d")) for name in ("one", "two")]
    ids = [{one.attributes["id"] for one in page.elements if "id" in one.attributes} for page in pages]
    assert ids[0]
    assert not ids[0] & ids[1]
    for page, own in zip(pages, ids, strict=True):
        values = " ".join(value for one in page.elements for value in one.attributes.values())
        assert set(re.findall(r"url\(#([^)]+)\)", values)) <= own
        assert {one.attributes.get("xlink:href", "#").removeprefix("#") for one in page.named("use")} <= own


def test_the_same_result_gives_the_same_bytes(first: Any) -> None:
    assert picture_of(first.trace, {}, "one", "t") == picture_of(first.trace, {}, "one", "t")


def test_planes_of_colors_are_images_within_the_picture(first: Any) -> None:
    page = ParsedPage(picture_of(first.surface, {}, "one", "s"))
    images = [one.attributes["xlink:href"] for one in page.named("image")]
    assert images
    assert all(image.startswith("data:image/png;base64,") for image in images)
    assert len(page.named("path")) < 200


def test_hostile_names_are_text_in_pictures(first: Any) -> None:
    names = np.array(['<img src="1">', "</svg><script>", "b"])[: len(first.eig.layer)]
    page = ParsedPage(picture_of(replace(first.eig, layer=names), {}, "one", "s"))
    assert not page.named("script") + page.named("img")
    assert str(names[0]) in [one.text.strip() for one in page.named("text")]


def test_a_large_picture_becomes_an_image(first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_DRAWING", 100)
    (image,) = ParsedPage(picture_of(first.eig, {}, "one", "spectrum")).elements
    assert (image.tag, image.attributes["alt"]) == ("img", "spectrum")
    assert image.attributes["src"].startswith("data:image/png;base64,")


def test_dark_lines_are_lifted_on_dark_pages(first: Any) -> None:
    assert "color-mix(in srgb, #440154, var(--ink) var(--lift))" in picture_of(first.eig, {}, "one", "s")


def test_an_overlay_needs_something_in_common(first: Any) -> None:
    assert overlay_of([first.records, first.records], ["a", "<b>"], "both").startswith("<svg")
    assert overlay_of([first.records, {"trace": first.trace}], ["a", "b"], "both")
    assert overlay_of([{"eig": first.eig}, {"trace": first.trace}], ["a", "b"], "both") == ""
