"""Every number of the shown results is explained, once."""

from __future__ import annotations

from typing import Any

from parsed_page import ParsedPage
from result_samples import sample_result

from landscape.fields import Array, Scalar, described_fields
from landscape.report.glossary import glossary
from landscape.report.tables import result_tables, term_id


def test_every_number_that_a_table_shows_has_its_entry(first: Any) -> None:
    section = glossary([first.records, first.records])
    assert [part.title for part in section.parts] == list(first.records)
    page = ParsedPage("".join(part.content for part in section.parts))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    shown = ParsedPage("".join(result_tables(name, one) for name, one in first.records.items()))
    assert {one.attributes["href"].removeprefix("#") for one in shown.named("a")} <= set(ids)
    for name, result in first.records.items():
        for kind in (Array, Scalar):
            held = [field for field in described_fields(type(result), kind) if getattr(result, field.name) is not None]
            assert {term_id(name, field.name) for field in held} <= set(ids)


def test_entries_have_help_unit_dimensions_and_error() -> None:
    (part,) = glossary([{"sample": sample_result()}]).parts
    page = ParsedPage(part.content)
    rows = [one.text for one in page.named("tr")]
    assert rows[0] == "quantity and fieldunitmeaning"
    assert "masssample.masskgMass. Its error: mass error." in rows
    assert "heightsample.height[radius, start]mHeights." in rows
    assert not [row for row in rows if row.startswith("width")]  # the result does not hold it


def test_there_is_no_column_of_units_without_units(first: Any) -> None:
    (part,) = glossary([{"eig": first.eig}]).parts
    assert [one.text for one in ParsedPage(part.content).named("th")][:2] == ["quantity and field", "meaning"]
