"""The table of docs/trust.md: what each analysis makes of each stranger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from strangers.catalog import AWAITING_CHECKS, STRANGERS
from strangers.stranger import Stranger
from strangers.verdicts import ANALYSES, Verdict, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
BEGIN, END = "<!-- table of strangers: begin -->", "<!-- table of strangers: end -->"


def head(stranger: Stranger) -> str:
    """The beginning of the line of one stranger."""
    return f"| {stranger.name}: {stranger.who} | {stranger.clause} | "


def row(stranger: Stranger, words: Mapping[str, Verdict]) -> str:
    """The line of one stranger."""
    return f"{head(stranger)}{' | '.join(words[name].word for name in ANALYSES)} |"


def tables(names: Collection[str], page: str) -> Iterator[str]:
    """A line of counts, and the lines of all tables, one for each kind of strangers.

    The named strangers are measured; the lines of the others are those of the page, if it has them.
    """
    written = page.splitlines()
    rows: dict[str, str] = {}
    for name, stranger in STRANGERS.items():
        if name in AWAITING_CHECKS:
            continue
        known = [line for line in written if line.startswith(head(stranger))]
        rows[name] = known[0] if known and name not in names else row(stranger, verdicts(stranger))
    counts = Counter(cell for line in rows.values() for cell in line.split(" | ")[2:])
    counts.update(line.removesuffix(" |").split(" | ")[-1] for line in rows.values())
    total = ", ".join(f"{counts[word]} {word}" for word in ("right", "refused", "inconclusive", "wrong"))
    yield f"{len(rows)} strangers x {len(ANALYSES)} analyses: {total}."
    if AWAITING_CHECKS:
        yield f"Left out, since some of their numbers are still wrong without a word: {', '.join(AWAITING_CHECKS)}."
    for kind in dict.fromkeys(STRANGERS[name].kind for name in rows):
        yield ""
        yield f"| {kind.replace('_', ' ')} | breaks | {' | '.join(ANALYSES)} |"
        yield f"|{'---|' * (len(ANALYSES) + 2)}"
        yield from (line for name, line in rows.items() if STRANGERS[name].kind == kind)


def write(names: Collection[str]) -> None:
    """Measures the named strangers, or all, and writes the tables into the page, between its two marks."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    lines = tables(names or tuple(STRANGERS), page)
    PAGE.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]))
