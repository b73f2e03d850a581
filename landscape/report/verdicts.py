"""The page of a gate's verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from landscape.report.markup import element, items, join, table
from landscape.report.page import Section, build_page, notice

TEXT_COLUMNS = (0, 1, 6)  # of the table of verdicts: checkpoint, metric and verdict
BAD = ("regression", "inconclusive")  # verdicts that fail a check


def verdict_page(
    lead: Iterable[str],
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    reasons: Iterable[str],
    failures: Iterable[tuple[str, str]],
) -> str:
    """The page as text: what was found, the table, whose last column is the verdict, and the reasons.

    `failures` are checkpoints that could not be measured, each with its error.
    """
    marked = [[*cells, element("span", word, class_="alarm") if word in BAD else word] for *cells, word in rows]
    missing = [
        join([element("code", name), ": ", "; ".join(map(str.strip, error.splitlines()))]) for name, error in failures
    ]
    problem = notice("Not measured", items(missing), kind="problem") if missing else ""
    content = join([problem, table("Verdicts", list(head), marked, texts=TEXT_COLUMNS), items(reasons)])
    return build_page("landscape check", [element("p", line) for line in lead], [Section("Verdicts", content)])
