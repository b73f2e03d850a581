"""A gate's verdicts in the formats that people and CI systems read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from xml.etree import ElementTree

from landscape.errors import EXIT_FAILURE, clean, listing
from landscape.gates.policy import ComparisonKind
from landscape.gates.verdict import Status, Verdict, exit_code
from landscape_cli.columns import Column

T = TypeVar("T")
REPORT_SCHEMA = 1
MAX_NAMED = 3  # metrics, and checkpoints, of one sentence
MAX_ANNOTATIONS = 10  # GitHub shows no more of one step
LEVELS: Mapping[Status, str] = {
    "regression": "error",
    "inconclusive": "error",
    "warning": "warning",
    "stale": "warning",
    "improvement": "notice",
}
SIGNS: Mapping[Status, str] = {
    "regression": "❌", "inconclusive": "❓", "warning": "⚠️", "stale": "⚠️", "improvement": "🎉", "pass": "✅",
}  # fmt: skip
REPORT_COLUMNS = (
    Column("checkpoint"),
    Column("metric"),
    *map(Column.of_numbers, ("baseline", "candidate", "change", "allowed")),
    Column("verdict"),
)
HEADERS = [column.header for column in REPORT_COLUMNS]


@dataclass(frozen=True)
class Report:
    """The report of a check: the verdicts, the baseline, and the checkpoints that could not be measured."""

    kind: ComparisonKind
    baseline: str
    verdicts: Sequence[Verdict]
    failures: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:  # names and reasons may come from a file, with any characters
        failures = [(clean(name), _clean_lines(error) or "error") for name, error in self.failures]
        object.__setattr__(self, "failures", failures)
        object.__setattr__(self, "baseline", clean(self.baseline))
        object.__setattr__(self, "verdicts", [clean_verdict(verdict) for verdict in self.verdicts])

    @property
    def code(self) -> int:
        """The exit code: 2 if a checkpoint was not measured, even if another one regressed."""
        return EXIT_FAILURE if self.failures else exit_code(self.verdicts)

    @property
    def summary(self) -> str:
        """The number of verdicts of each kind, in words."""
        statuses = [verdict.status for verdict in self.verdicts]
        counts = [f"{statuses.count(status)} {status}" for status in SIGNS if status in statuses]
        count = len(self.failures)
        failed = [f"{count} error{'' if count == 1 else 's'}"] if count else []
        return ", ".join([*failed, *counts])


def _clean_lines(text: str) -> str:
    """The lines of an error, each without what could command a terminal or a CI system."""
    return "\n".join(map(clean, text.splitlines()))


def clean_verdict(verdict: Verdict) -> Verdict:
    """The verdict with control characters escaped, which could command a terminal and stand in no XML."""
    return replace(
        verdict,
        metric=clean(verdict.metric),
        checkpoint=clean(verdict.checkpoint),
        why=clean(verdict.why),
        fix=clean(verdict.fix),
        notes=tuple(map(clean, verdict.notes)),
    )


def as_text(report: Report) -> str:
    """The sentences that a terminal shows below the table."""
    lines = list(reasons_and_notes(report.verdicts))
    return "\n".join([*lines, f"{report.summary} ({report.kind}, {report.baseline})"])


def report_rows(report: Report) -> list[tuple[str, ...]]:
    """The rows of the table, without headers."""
    return [_row(verdict) for verdict in report.verdicts]


def as_json(report: Report) -> str:
    """One JSON document, with null for unknown numbers."""
    document = {
        "schema": REPORT_SCHEMA,
        "kind": report.kind,
        "baseline": report.baseline,
        "exit_code": report.code,
        "verdicts": [_document(verdict) for verdict in report.verdicts],
        "errors": [{"checkpoint": name, "error": error} for name, error in report.failures],
    }
    return json.dumps(document, allow_nan=False)


def as_github(report: Report) -> str:
    """Workflow commands of GitHub Actions: at most ten annotations, one for each reason of all but plain passes."""
    every = [("error", f"landscape: {name}", error) for name, error in report.failures]
    ordered = sorted(report.verdicts, key=lambda verdict: list(SIGNS).index(verdict.status))
    groups = _groups(
        (verdict, (verdict.status, verdict.why, verdict.notes, verdict.fix))
        for verdict in ordered
        if verdict.status in LEVELS or verdict.notes
    )
    every += [
        (LEVELS.get(group[0].status, "notice"), f"landscape: {_metrics(group)}", _sentence(group))
        for group in groups.values()
    ]
    if len(every) > MAX_ANNOTATIONS:
        left = len(every) - MAX_ANNOTATIONS + 1
        worst = "error" if any(level == "error" for level, _, _ in every[MAX_ANNOTATIONS - 1 :]) else "warning"
        every = [*every[: MAX_ANNOTATIONS - 1], (worst, "landscape", f"and {left} more")]
    return "\n".join(f"::{level} title={_escape_property(title)}::{_escape(words)}" for level, title, words in every)


def as_junit(report: Report) -> str:
    """JUnit XML, as GitLab and Jenkins read it: a case for each verdict."""
    statuses = [verdict.status for verdict in report.verdicts]
    counts = {
        "tests": len(statuses) + len(report.failures),
        "failures": statuses.count("regression"),
        "errors": statuses.count("inconclusive") + len(report.failures),
        "skipped": statuses.count("stale"),
    }
    attributes = {name: str(count) for name, count in counts.items()}
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"landscape check, {report.kind}", **attributes})
    for verdict in report.verdicts:
        case = _case(suite, verdict.checkpoint, verdict.metric)
        kinds = {"regression": "failure", "inconclusive": "error", "stale": "skipped"}
        if verdict.status in kinds:
            about = {"message": verdict.why} | ({"type": verdict.status} if verdict.status != "stale" else {})
            ElementTree.SubElement(case, kinds[verdict.status], about).text = _sentence([verdict])
        ElementTree.SubElement(case, "system-out").text = " | ".join(_row(verdict)[2:]) + "\n" + _sentence([verdict])
    for name, error in report.failures:
        case = _case(suite, name, "measurement")
        ElementTree.SubElement(case, "error", {"message": error.splitlines()[0], "type": "error"}).text = error
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def as_markdown(report: Report) -> str:
    """The report in Markdown, for a job's summary or a comment: a table, the reasons, and what was not measured."""
    lines = [f"### landscape check: {report.summary}", ""]
    lines += [_markdown_row(HEADERS), _markdown_row(["---"] * len(HEADERS))]
    for verdict in report.verdicts:
        *cells, status = _row(verdict)
        lines.append(_markdown_row([*cells, f"{SIGNS[verdict.status]} {status}"]))
    lines.append("")
    lines += [f"- {_markdown(line)}" for line in _one_line_each(report.verdicts)]
    lines += [f"- **{_markdown(name)} was not measured**: {_markdown(error)}" for name, error in report.failures]
    return "\n".join([*lines, "", f"{report.kind}, compared with {_markdown(report.baseline)}", ""])


def as_html(report: Report) -> str:
    """The report as a page for a browser: the table, the reasons, and what was not measured."""
    from landscape.report.verdicts import verdict_page

    reasons = _one_line_each(report.verdicts)
    lead = (f"{report.summary} (exit code {report.code})", f"{report.kind}, compared with {report.baseline}")
    return verdict_page(lead, HEADERS, report_rows(report), reasons, report.failures)


REPORT_FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": as_text, "json": as_json, "github": as_github, "junit": as_junit, "markdown": as_markdown, "html": as_html,
}  # fmt: skip


# -- one verdict ---------------------------------------------------------------------------------------------------


def _row(verdict: Verdict) -> tuple[str, ...]:
    values = ("" if value is None else f"{value:.6g}" for value in (verdict.baseline, verdict.candidate))
    allowed = str(verdict.rule.tolerance) if verdict.rule else ""
    return verdict.checkpoint, verdict.metric, *values, verdict.change, allowed, verdict.status


def _sentence(verdicts: Sequence[Verdict]) -> str:
    """What verdicts of one reason are about, with that, their notes and their remedy, in one line."""
    first = verdicts[0]
    parts = [f"{_about(verdicts)}: {first.why or first.status}", *first.notes]
    return "; ".join(filter(None, [*parts, first.fix and f"fix: {first.fix}"]))


def reasons_and_notes(verdicts: Iterable[Verdict]) -> Iterable[str]:
    """The reasons with their remedies, then the notes, each once with all that it is about; none of plain passes."""
    every = list(verdicts)
    for reason, fix in _grouped_reasons(every):
        yield clean(reason)
        if fix:
            yield clean(f"  fix:  {fix}")
    yield from map(clean, _grouped_notes(every))


def _one_line_each(verdicts: Iterable[Verdict]) -> list[str]:
    """The same, a reason and its remedy in one line."""
    every = list(verdicts)
    reasons = [f"{reason}; fix: {fix}" if fix else reason for reason, fix in _grouped_reasons(every)]
    return [*reasons, *_grouped_notes(every)]


def _grouped_reasons(verdicts: Iterable[Verdict]) -> list[tuple[str, str]]:
    """Each reason with what it is about, and its remedy."""
    groups = _groups((verdict, (verdict.status, verdict.why, verdict.fix)) for verdict in verdicts if verdict.why)
    return [(f"{status}: {_about(group)}: {why}", fix) for (status, why, fix), group in groups.items()]


def _grouped_notes(verdicts: Iterable[Verdict]) -> list[str]:
    """Each note with what it is about."""
    groups = _groups((verdict, note) for verdict in verdicts for note in verdict.notes)
    return [f"note: {_about(group)}: {note}" for note, group in groups.items()]


def _groups(pairs: Iterable[tuple[Verdict, T]]) -> dict[T, list[Verdict]]:
    """The verdicts by what they say, in order."""
    groups: dict[T, list[Verdict]] = {}
    for verdict, said in pairs:
        groups.setdefault(said, []).append(verdict)
    return groups


def _about(verdicts: Sequence[Verdict]) -> str:
    """The metrics and the checkpoints of some verdicts: `eig.eigenvalues[0], trace.trace of a.pt`."""
    checkpoints = dict.fromkeys(verdict.checkpoint for verdict in verdicts)
    return f"{_metrics(verdicts)} of {listing(checkpoints, MAX_NAMED)}"


def _metrics(verdicts: Sequence[Verdict]) -> str:
    """The metrics of some verdicts, each once."""
    return listing(dict.fromkeys(verdict.metric for verdict in verdicts), MAX_NAMED)


def _document(verdict: Verdict) -> dict[str, Any]:
    comparison, rule = verdict.comparison, verdict.rule
    baseline, candidate = verdict.baseline, verdict.candidate
    numbers: dict[str, float | None] = {
        "baseline": baseline,
        "candidate": candidate,
        "change": (candidate - baseline) / abs(baseline) if baseline and candidate is not None else None,
    }
    if comparison is not None:
        numbers |= {
            "gap": comparison.gap,
            "gap_allowed": comparison.allowed,
            "gap_standard_error": comparison.error,
            "p": comparison.p_value,
        }
    policy = (
        {} if rule is None else {"level": rule.level, "direction": rule.direction, "tolerance": str(rule.tolerance)}
    )
    finite = {name: value if value is None or math.isfinite(value) else None for name, value in numbers.items()}
    return {
        "metric": verdict.metric,
        "checkpoint": verdict.checkpoint,
        "status": verdict.status,
        "why": verdict.why,
        "fix": verdict.fix,
        "notes": list(verdict.notes),
        **policy,
        **finite,
    }


# -- escaping for each format --------------------------------------------------------------------------------------


def _escape(words: str) -> str:
    """The text escaped for a workflow command."""
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(words: str) -> str:
    """The text escaped for a property of a workflow command."""
    return _escape(words).replace(":", "%3A").replace(",", "%2C")


def _markdown(words: str) -> str:
    """Text without markup, in one line."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in words)
    return " ".join(escaped.split("\n"))


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_markdown, cells))} |"


def _case(suite: ElementTree.Element, checkpoint: str, metric: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": checkpoint, "name": metric})
