"""The table of docs/trust.md: what each analysis makes of each stranger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from strangers.catalog import AWAITING_CHECKS, STRANGERS
from strangers.stranger import Stranger
from strangers.verdicts import ANALYSES, Verdict, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
BEGIN, END = "<!-- table of strangers: begin -->", "<!-- table of strangers: end -->"


def row(stranger: Stranger, words: Mapping[str, Verdict]) -> str:
    """The line of one stranger."""
    cells = [f"{stranger.name}: {stranger.who}", stranger.clause, *(words[name].word for name in ANALYSES)]
    return f"| {' | '.join(cells)} |"


def tables() -> Iterator[str]:
    """The lines of all tables, one for each kind of strangers, and a line of counts."""
    every = {name: verdicts(one) for name, one in STRANGERS.items() if name not in AWAITING_CHECKS}
    counts = Counter(verdict.word for words in every.values() for verdict in words.values())
    total = ", ".join(f"{counts[word]} {word}" for word in ("right", "refused", "inconclusive", "wrong"))
    yield f"{len(every)} strangers x {len(ANALYSES)} analyses: {total}."
    for kind in dict.fromkeys(STRANGERS[name].kind for name in every):
        yield ""
        yield f"| {kind.replace('_', ' ')} | breaks | {' | '.join(ANALYSES)} |"
        yield f"|{'---|' * (len(ANALYSES) + 2)}"
        yield from (row(STRANGERS[name], words) for name, words in every.items() if STRANGERS[name].kind == kind)


def write() -> None:
    """Measures all strangers, and writes the tables into the page, between its two marks."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text("\n".join([before + BEGIN, "", *tables(), "", END + after]))
