"""The section of a run's history: its table over the steps, its picture, and what its columns are."""

from __future__ import annotations

from pathlib import Path

from landscape.history import History
from landscape.report.markup import Html, element, facts, items, join, table
from landscape.report.page import Section, notice
from landscape.report.pictures import picture_of

MAX_STEPS = 40  # rows of a table: the first and the last ones of more


def history_section(file: Path, history: History, number: int) -> Section:
    """A section for the history in a file; `number` tells its picture from others in the page."""
    title = f"Along training: {history.run or file.name}"
    drawing = picture_of(history, {}, f"history-{number}", title)
    caption = element("figcaption", "What was measured along the run; dotted lines are steps without a number.")
    figure = element("figure", element("div", drawing, class_="drawn"), caption) if drawing else Html()
    source = facts([("file", str(file)), ("fingerprint", element("code", history.fingerprint))])
    troubles = items(f"step {moment.step:g}: {moment.trouble}" for moment in history.moments if moment.trouble)
    problem = (
        notice("Steps whose numbers are missing or inconclusive", troubles, kind="problem") if troubles else Html()
    )
    return Section(title, join([problem, figure, _steps(history), _columns(history), source]))


def _steps(history: History) -> Html:
    heads, rows = history.short_table()
    left_out = len(rows) - MAX_STEPS
    shown = rows if left_out <= 0 else [*rows[: MAX_STEPS // 2], *rows[-MAX_STEPS // 2 :]]
    more = f"; {left_out:,} in the middle are left out" if left_out > 0 else ""
    return table(f"First values at every step, with their errors{more}", heads, shown, texts=(0, 1))


def _columns(history: History) -> Html:
    rows = [
        [element("code", f"{name}[{', '.join(one.dims)}]"), "" if one.unit == "1" else one.unit, one.help]
        for name, one in history.columns.items()
    ]
    return table("Columns of the history", ["column", "unit", "meaning"], rows, texts=range(3))
