"""Numbers have the digits of their errors, and link to what they mean."""

from __future__ import annotations

import numpy as np
from parsed_page import ParsedPage
from result_samples import sample_result

from landscape.report.tables import MAX_ROWS, cell, errors_of, result_tables, term_id


def test_numbers_are_rounded_to_their_errors_and_words_stay() -> None:
    assert cell(3.24618, 0.00312) == "3.2462 ± 0.0031"
    assert cell(3.24618) == "3.246"
    assert cell(0.5, 2.0) == "0.5 ± 2.0 (not determined)"
    assert cell(0.5, 2.0, bound=True) == "0.5 ± 2.0"
    assert cell(12_345) == "12,345"
    assert cell(np.int64(1234), np.float64(56.0)) == "1234 ± 56"
    assert cell(np.bool_(True)) == "yes"
    assert cell(float("nan"), 1.0) == "nan"
    assert cell("<b>") == "&lt;b&gt;"


def test_errors_of_both_spellings_stand_behind_their_numbers_and_not_alone() -> None:
    result = sample_result()
    assert errors_of(type(result), {"mass": 1, "mass_error": 1, "length": 1, "length_se": 1}) == {
        "mass": "mass_error",
        "length": "length_se",
    }
    page = ParsedPage(result_tables("sample", result))
    rows = [one.text for one in page.named("tr")]
    assert "mass2.346 ± 0.012kg" in rows
    assert "length10 ± 201" not in rows
    assert not [row for row in rows if row.startswith(("mass error", "length se"))]


def test_tables_of_dimensions_escape_names_and_link_to_the_glossary() -> None:
    page = ParsedPage(result_tables("sample", sample_result()))
    assert not page.named("script")
    assert "<script>alert(1)</script>" in [one.text for one in page.named("th")]
    links = {one.attributes["href"] for one in page.named("a")}
    assert f"#{term_id('sample', 'layer_size')}" in links
    assert [one.text for one in page.named("caption")] == ["Numbers of sample", "sample by layer", "sample by radius"]


def test_long_tables_say_how_many_rows_there_are() -> None:
    count = MAX_ROWS + 5
    result = sample_result(layer=np.array([f"layer {n}" for n in range(count)]), layer_size=np.arange(count))
    page = ParsedPage(result_tables("sample", result))
    assert f"sample by layer; the first {MAX_ROWS} of {count}" in [one.text for one in page.named("caption")]
    assert (
        len([one for one in page.named("th") if one.text.startswith("layer ") and one.text[6:].isdecimal()]) == MAX_ROWS
    )
