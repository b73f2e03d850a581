"""The section of a run's history, beside results or alone in a page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from parsed_page import ParsedPage
from reported import only

from landscape.history import History
from landscape.report.histories import MAX_STEPS, history_section
from landscape.report.report import report_page
from landscape.report.sources import ReportSources, read_sources

HOSTILE = "<script>alert(1)</script>"


def history_of(steps: int, trouble: str = "") -> History:
    """The loss at so many steps, of which the last one is in trouble."""
    history = History()
    for step in range(steps):
        last = trouble if step == steps - 1 else ""
        history = history.with_values(step, f"{HOSTILE}{step}.pt", {"loss": 1 / (1 + step)}, last)
    return history


def test_every_step_has_a_row_and_hostile_names_are_text() -> None:
    page = ParsedPage(f"<main>{history_section(Path('track.landscape.h5'), history_of(3), 1).content}</main>")
    assert not page.named("script")
    rows = [one.text for one in page.named("tr")]
    assert f"1{HOSTILE}1.pt0.5" in rows
    assert len(page.named("figure")) == 1
    assert "loss[step]" in [one.text for one in page.named("code")]


def test_long_runs_show_their_first_and_last_steps() -> None:
    page = ParsedPage(f"<main>{history_section(Path('t.h5'), history_of(MAX_STEPS + 3), 1).content}</main>")
    first, _ = page.named("table")
    assert "3 in the middle are left out" in first.text
    assert first.text.count(".pt") == MAX_STEPS
    assert f"{MAX_STEPS + 2}.pt" in first.text


def test_troubles_stand_at_the_top() -> None:
    page = ParsedPage(f"<main>{history_section(Path('t.h5'), history_of(2, 'NaN <b>'), 1).content}</main>")
    assert page.elements[1].attributes["class"] == "notice problem"
    assert "step 1: NaN <b>" in page.elements[1].text


def test_a_history_is_found_in_its_file_and_shown_beside_results(measured: Path, tmp_path: Path) -> None:
    history_of(3).save(tmp_path / "track.landscape.h5")
    alone = read_sources([tmp_path])
    assert (alone.results, [file.name for file, _ in alone.histories]) == ((), ["track.landscape.h5"])
    headings = [one.text for one in ParsedPage(report_page(alone)).named("h2")]
    assert headings == ["1 Along training: track.landscape.h5"]
    shutil.copy(measured / "run-10.landscape.h5", tmp_path)
    both = read_sources([tmp_path])
    assert (len(both.results), len(both.histories), both.unread) == (1, 1, ())


def test_its_section_stands_before_the_glossary(first: Any) -> None:
    sources = ReportSources((only(first, "trace"),), histories=((Path("t.h5"), history_of(2)),))
    headings = [one.text.partition(" ")[2] for one in ParsedPage(report_page(sources)).named("h2")]
    assert headings[2:5] == ["Results of run-2", "Along training: t.h5", "Glossary"]
