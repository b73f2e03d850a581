"""A table of given cells: its shares and errors, its reasons, and every form that it is written in."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from html.parser import HTMLParser

import pytest

from landscape.side_by_side import Cell, Row, SideBySide
from landscape.side_by_side.table import RESCALING, apart_from

HOSTILE = SideBySide(
    ("<b>a</b>", "b|c"),
    (
        Row("x", '"help"', (Cell(1.0, 0.1), Cell(1.5, 0.1, 0.5, 3.5355))),
        Row("y", "", (Cell(0.0), Cell(2.0, None, 2.0))),
        Row("z", "", (Cell(1.0), Cell(math.nan, reason="<script>none</script>"))),
        Row("w", "", (Cell(1.0, 1e-6), Cell(3.0, 1e-6, 2.0, 1.4e6, "loss"))),
    ),
)


def difference(first: Cell, second: Cell) -> str:
    """The text beside a cell that is compared with the first one."""
    (texts,) = SideBySide(("a", "b"), (Row("x", "", (first, apart_from(second, first))),)).cells()
    return texts[3]


def test_a_table_says_shares_errors_and_numbers_of_reasons() -> None:
    assert [row[2:] for row in HOSTILE.cells()] == [
        ["1.50 ± 0.10", "+50 % (3.5 errors)"],
        ["2", "+2"],
        ["-", "(1)"],
        ["3.0000000 ± 1e-06", "+200 % (> 100 errors) (2)"],
    ]
    assert HOSTILE.notes() == ["(1) <script>none</script>", "(2) loss"]


def test_a_difference_is_in_errors_of_the_difference() -> None:
    """Errors of 3 and 4 make one of 5: 10 is two of them."""
    found = apart_from(Cell(30.0, 4.0), Cell(20.0, 3.0))
    assert (found.value, found.error, found.difference, found.in_errors) == (30.0, 4.0, 10.0, 2.0)
    assert apart_from(Cell(10.0, 4.0), Cell(20.0, 3.0)).in_errors == -2
    assert difference(Cell(20.0, 3.0), Cell(10.0, 4.0)) == "-50 % (2 errors)"


@pytest.mark.parametrize(
    ("first", "second"), [(None, 1.0), (1.0, None), (0.0, 0.0), (math.nan, 1.0)], ids=["a", "b", "zero", "nan"]
)
def test_without_both_errors_a_difference_is_in_none(first: float | None, second: float | None) -> None:
    found = apart_from(Cell(3.0, second), Cell(2.0, first))
    assert found.difference == 1
    assert found.in_errors is None


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (-2.0, -1.0, "+50 %"),
        (-2.0, 2.0, "+200 %"),
        (4.0, 4.0, "+0 %"),
        (0.0, -0.5, "-0.5"),
        (math.nan, 1.0, "-"),
        (1.0, math.inf, "-"),
    ],
    ids=["less-negative", "sign", "equal", "from-zero", "nan", "infinite"],
)
def test_shares_are_of_the_first_value_s_size_and_keep_the_sign_of_the_difference(
    first: float, second: float, text: str
) -> None:
    assert difference(Cell(first), Cell(second)) == text


def test_a_reason_stands_once_however_many_cells_have_it() -> None:
    row = Row("x", "", (Cell(1.0, reason="other data"), Cell(2.0, reason="other loss"), Cell(3.0, reason="other data")))
    table = SideBySide(("a", "b", "c"), (row, row))
    assert table.reasons == ("other data", "other loss")
    assert table.header() == ["quantity", "a", "b", "difference from a", "c", "difference from a"]
    assert list(table.cells()) == [["x", "1 (1)", "2", "(2)", "3", "(1)"]] * 2


def test_texts_escape_what_their_formats_read_as_markup() -> None:
    assert "<script>" not in HOSTILE.to_html()
    assert "<b>a</b>" not in HOSTILE.to_html()
    assert "&lt;script&gt;none" in HOSTILE.to_html()
    markdown = HOSTILE.to_markdown().splitlines()
    assert markdown[0] == r"| quantity | &lt;b&gt;a&lt;/b&gt; | b\|c | difference from &lt;b&gt;a&lt;/b&gt; |"
    assert "<script>" not in HOSTILE.to_markdown()
    rows = list(csv.DictReader(io.StringIO(HOSTILE.to_csv())))
    assert [row["value"] for row in rows[:3]] == ["1.0", "1.5", "0.0"]
    assert rows[5]["reason"] == "<script>none</script>"
    document = json.loads(HOSTILE.to_json())
    assert document["checkpoints"] == ["<b>a</b>", "b|c"]
    assert document["rows"][2]["cells"][1]["value"] is None


def test_a_label_of_two_lines_does_not_break_the_table_of_markdown() -> None:
    lines = SideBySide(("a", "b\nc"), (Row("x", "", (Cell(1.0), Cell(2.0))),)).to_markdown().splitlines()
    assert [line.count("|") for line in lines] == [5, 5, 5]


def test_the_page_holds_the_cells_as_they_are_printed() -> None:
    class Texts(HTMLParser):
        rows: list[list[str]]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th"):
                self.rows[-1].append("")

        def handle_data(self, data: str) -> None:
            if self.rows[-1]:
                self.rows[-1][-1] += data

    parser = Texts()
    parser.rows = []
    page, _, _ = HOSTILE._repr_html_().partition("</table>")
    parser.feed(page)
    assert parser.rows == [HOSTILE.header(), *HOSTILE.cells()]


def test_json_has_every_number_of_every_cell() -> None:
    rows = json.loads(HOSTILE.to_json())["rows"]
    assert [row["metric"] for row in rows] == ["x", "y", "z", "w"]
    assert rows[3]["cells"] == [asdict(cell) for cell in HOSTILE.rows[3].cells]


def test_frames_have_a_row_for_each_quantity_and_checkpoint() -> None:
    frame = HOSTILE.to_dataframe()
    own = ["metric", "checkpoint", "value", "error", "difference", "in_errors", "reason"]
    assert frame.columns.tolist() == [*own, "data_error", "in_data_errors"]
    assert len(frame) == 8


def test_what_is_flatter_beyond_errors_is_said_of_measures_of_sharpness_alone() -> None:
    def row(metric: str, in_errors: float | None, reason: str = "") -> Row:
        return Row(metric, "", (Cell(1.0), Cell(2.0, 0.1, 1.0, in_errors, reason)))

    rows = (
        row("eig.eigenvalues[0]", -5.0), row("trace.trace", -3.5), row("loss", -9.0), row("density.trace", 2.9),
        row("sharpness.s_avg[0]", 4.0, "other data"), row("density.lambda_max", None),
    )  # fmt: skip
    assert SideBySide(("a", "b"), rows).meanings() == [
        f"b is flatter by eig.eigenvalues[0], trace.trace than a, {BEYOND}: eig and trace {ADVICE}"
    ]
    both = (*rows[:1], row("trace.trace", 7.0))
    assert SideBySide(("a", "b"), both).meanings() == [
        f"b is flatter by eig.eigenvalues[0] and sharper by trace.trace than a, {BEYOND}: eig and trace {ADVICE}",
        RESCALING,
    ]
    assert SideBySide(("a", "b"), rows[2:]).meanings() == []


BEYOND = "beyond the errors of the algorithm on these samples"
ADVICE = "with --resample 20 tell whether others would say so"


def test_a_difference_is_in_errors_by_samples_where_both_are_known() -> None:
    """Errors of 3 and 4 by the algorithm, of 30 and 40 by the samples."""
    first, second = Cell(20.0, 3.0, data_error=30.0), Cell(30.0, 4.0, data_error=40.0)
    found = apart_from(second, first)
    assert (found.in_errors, found.in_data_errors) == (2.0, 0.2)
    assert difference(first, second) == "+50 % (2 errors, 0.2 by samples)"
    assert apart_from(second, Cell(20.0, 3.0)).in_data_errors is None
    assert difference(Cell(20.0, data_error=3.0), Cell(30.0, data_error=4.0)) == "+50 % (2 by samples)"


def test_what_by_samples_means_is_a_note_where_it_stands() -> None:
    cells = Cell(20.0, 3.0, data_error=30.0), Cell(30.0, 4.0, data_error=40.0)
    table = SideBySide(("a", "b"), (Row("x", "", (cells[0], apart_from(cells[1], cells[0]))),))
    assert [note.partition(":")[0] for note in table.notes()] == ["by samples"]
    assert table.reasons == ()
    assert "as if each had samples of its own" in table.to_markdown()


@pytest.mark.parametrize(
    ("by_samples", "sentence"),
    [
        ((4.0, -5.0), "beyond the errors of the algorithm and of the choice of samples"),
        (
            (2.9, -5.0),
            "beyond the errors of the algorithm; other samples might say otherwise of eig.eigenvalues[0]",
        ),
        ((4.0, None), f"{BEYOND}: trace {ADVICE}".replace(" tell ", " tells ")),
        ((None, None), f"{BEYOND}: eig and trace {ADVICE}"),
    ],
    ids=["both", "one-unsure", "one-unknown", "unknown"],
)
def test_a_verdict_says_which_errors_it_has_seen(by_samples: tuple[float | None, ...], sentence: str) -> None:
    names = ("eig.eigenvalues[0]", "trace.trace")
    rows = [
        Row(name, "", (Cell(1.0), Cell(2.0, 0.1, 1.0, 50.0, in_data_errors=of_data)))
        for name, of_data in zip(names, by_samples, strict=True)
    ]
    found, rescaling = SideBySide(("a", "b"), tuple(rows)).meanings()
    assert rescaling == RESCALING
    assert found == f"b is sharper by eig.eigenvalues[0], trace.trace than a, {sentence}"


def test_measures_that_cannot_be_resampled_are_said_of_these_samples() -> None:
    row = Row("sharpness.s_avg[0]", "", (Cell(1.0), Cell(2.0, 0.1, 1.0, 50.0)))
    assert SideBySide(("a", "b"), (row,)).meanings() == [f"b is sharper by sharpness.s_avg[0] than a, {BEYOND}"]
