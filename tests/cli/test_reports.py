"""Reports keep to the rules of the formats that others read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from gating import METRIC, entry, run
from parsed_page import ParsedPage

from landscape.gates.comparison import Comparison
from landscape.gates.policy import parse_policy
from landscape.gates.verdict import Status, Verdict, judge
from landscape_cli.reports import (
    MAX_ANNOTATIONS,
    REPORT_FORMATS,
    Report,
    as_github,
    as_html,
    as_json,
    as_junit,
    as_markdown,
    as_text,
    report_rows,
)

# https://docs.github.com/actions/reference/workflow-commands: ::command key={value},...::{message}
COMMAND = re.compile(r"::(error|warning|notice) title=([^,:\r\n]*)::([^\r\n]*)")


def made(status: Status, metric: str = METRIC, why: str = "because", **about: object) -> Verdict:
    return Verdict(
        metric, "a.pt", status, why, "do this", comparison=Comparison(3.0, 3.1, 0.1, 0.03, 1e-3, 3e-3), **about
    )  # type: ignore[arg-type]


EVERY: list[Status] = ["regression", "inconclusive", "warning", "stale", "improvement", "pass"]
REPORT = Report("same-weights", "b.json", [made(status) for status in EVERY])
REAL = Report(
    "same-weights",
    "b.json",
    judge(parse_policy(metrics={METRIC: "1%"}), [entry(3.0)], [entry(3.1), entry(3.0, of=run(data="x"))]),
)
UNCOMPARED = Report(
    "same-weights", "b.json", judge(parse_policy(metrics={METRIC: "1%"}), [entry(3.0)], [entry(3.6, of=run(data="x"))])
)


def test_the_numbers_of_an_inconclusive_row_are_shown_in_every_format() -> None:
    assert report_rows(UNCOMPARED)[0][2:] == ("3", "3.6", "+20 %", "1%", "inconclusive")
    assert "3 | 3.6 | +20 % | 1% | inconclusive" in as_junit(UNCOMPARED)
    assert "| 3 | 3.6 | +20 % | 1% |" in as_markdown(UNCOMPARED)


def test_a_loss_that_differs_is_told_once_for_a_checkpoint() -> None:
    rules = parse_policy(metrics={METRIC: "1%", "eig.loss": "1%"})
    known, worse = (
        replace(entry(of=run(loss)), readings=dict.fromkeys([METRIC, "eig.loss"], entry().readings[METRIC]))
        for loss in (0.1, 0.5)
    )
    report = Report("same-weights", "b.json", judge(rules, [known], [worse]))
    for form in (as_text, as_markdown, as_html):
        assert form(report).count("the loss is 0.5, in the baseline 0.1") == 1
        assert form(report).count("flattens as a net becomes confident") == 1
    cases = ElementTree.fromstring(as_junit(report)).iter("testcase")
    assert sum("the loss is 0.5" in "".join(case.itertext()) for case in cases) == 1


def test_real_verdicts_are_told_in_every_format() -> None:
    for name, form in REPORT_FORMATS.items():
        assert METRIC in form(REAL).replace("\\", ""), name
    assert report_rows(REAL)[0][2:5] == ("3", "3.1", "+3.33 %")


@pytest.mark.parametrize(
    ("statuses", "failures", "code"),
    [
        (["pass", "improvement", "warning", "stale"], [], 0),
        (["pass", "inconclusive"], [], 3),
        (["regression", "inconclusive"], [], 1),
        (["regression"], [("b.pt", "broken")], 2),
        ([], [("b.pt", "broken")], 2),
    ],
)
def test_the_exit_code_is_the_worst_and_an_error_hides_no_regression(
    statuses: list[Status], failures: list[tuple[str, str]], code: int
) -> None:
    report = Report("same-weights", "b.json", [made(status) for status in statuses], failures)
    assert report.code == code
    assert json.loads(as_json(report))["exit_code"] == code


class TestText:
    def test_each_verdict_says_why_and_what_to_do_and_a_count_ends_it(self) -> None:
        lines = as_text(REPORT).splitlines()
        assert lines[0] == f"regression: {METRIC} of a.pt: because"
        assert lines[1] == "  fix:  do this"
        assert lines[-1].startswith("1 regression, 1 inconclusive, 1 warning, 1 stale, 1 improvement, 1 pass (same-w")

    def test_notes_are_told_even_of_a_pass(self) -> None:
        report = Report("same-weights", "b", [Verdict(METRIC, "a.pt", "pass", notes=("torch 3 here",))])
        assert f"note: {METRIC} of a.pt: torch 3 here" in as_text(report)

    def test_what_several_verdicts_say_is_said_once_with_what_it_is_about(self) -> None:
        notes = ("torch 3 here", "threads 2 here")
        many = [
            Verdict(f"eig.eigenvalues[{i}]", name, "pass", notes=notes) for i in range(5) for name in ("a.pt", "b.pt")
        ]
        bad = [
            replace(made("inconclusive", metric), comparison=None) for metric in ("trace.trace", "eig.eigenvalues[0]")
        ]
        report = Report("same-weights", "b", [*many, *bad, made("regression", "trace.trace", "worse")])
        assert as_text(report).splitlines()[:-1] == [
            "inconclusive: trace.trace, eig.eigenvalues[0] of a.pt: because",
            "  fix:  do this",
            "regression: trace.trace of a.pt: worse",
            "  fix:  do this",
            "note: eig.eigenvalues[0], eig.eigenvalues[1], eig.eigenvalues[2] and 2 more of a.pt, b.pt: torch 3 here",
            "note: eig.eigenvalues[0], eig.eigenvalues[1], eig.eigenvalues[2] and 2 more of a.pt, b.pt: threads 2 here",
        ]
        assert as_markdown(report).count("torch 3 here") == as_html(report).count("torch 3 here") == 1
        assert "because; fix: do this" in as_markdown(report)


class TestJson:
    def test_what_is_not_known_is_null(self) -> None:
        unknown = Verdict(METRIC, "a.pt", "inconclusive", "it is nan")
        zero = replace(made("regression"), comparison=Comparison(0.0, 0.1, 0.1, 1e-6, 0.0, 0.0))
        document = json.loads(as_json(Report("same-weights", "b", [unknown, zero])))
        assert document["verdicts"][0]["baseline"] is document["verdicts"][0]["candidate"] is None
        assert "gap" not in document["verdicts"][0]
        assert document["verdicts"][1]["change"] is None
        assert document["verdicts"][1]["gap_allowed"] == 1e-6

    def test_numbers_that_are_not_compared_are_told_too(self) -> None:
        verdict = json.loads(as_json(UNCOMPARED))["verdicts"][0]
        assert (verdict["baseline"], verdict["candidate"], verdict["change"]) == (3.0, 3.6, pytest.approx(0.2))

    def test_the_rule_stands_beside_the_numbers(self) -> None:
        verdict = json.loads(as_json(REAL))["verdicts"][0]
        assert (verdict["level"], verdict["direction"], verdict["tolerance"]) == ("error", "increase", "1%")
        assert verdict["change"] == pytest.approx(1 / 30)


class TestGithub:
    def test_every_line_is_a_workflow_command(self) -> None:
        lines = as_github(REPORT).splitlines()
        found = [COMMAND.fullmatch(line) for line in lines]
        assert all(found)
        assert [match[1] for match in found if match] == ["error", "error", "warning", "warning", "notice"]

    def test_what_would_end_a_command_is_escaped(self) -> None:
        nasty = made("regression", "eig.layer_eigenvalue[a,b:c%]", "100 %\nof\r::error::it")
        (line,) = as_github(Report("same-weights", "b", [nasty])).splitlines()
        match = COMMAND.fullmatch(line)
        assert match
        assert "%25" in match[3]
        assert r"\nof\r" in match[3]
        assert "a%2Cb%3Ac%25" in match[2]

    @pytest.mark.parametrize("count", [9, 10, 11, 40])
    def test_there_are_ten_annotations_at_most_and_errors_come_first(self, count: int) -> None:
        several = [made("warning", f"eig.eigenvalues[{i}]", f"reason {i}") for i in range(count - 1)] + [
            made("regression", "trace.trace")
        ]
        lines = as_github(Report("same-weights", "b", several)).splitlines()
        assert len(lines) == min(count, MAX_ANNOTATIONS)
        assert "trace.trace" in lines[0]
        assert (f"and {count - 9} more" in lines[-1]) == (count > MAX_ANNOTATIONS)

    def test_a_reason_of_several_metrics_is_one_annotation(self) -> None:
        several = [made("inconclusive", f"eig.eigenvalues[{i}]", "other data") for i in range(5)]
        (line,) = as_github(Report("same-weights", "b", several)).splitlines()
        assert "title=landscape%3A eig.eigenvalues[0]%2C eig.eigenvalues[1]" in line
        assert line.endswith("and 2 more of a.pt: other data; fix: do this")
        apart = [*several, made("inconclusive", "trace.trace", "no number"), replace(several[0], notes=("a note",))]
        assert len(as_github(Report("same-weights", "b", apart)).splitlines()) == 3

    def test_what_is_left_over_is_as_bad_as_its_worst(self) -> None:
        several = [made("regression", f"eig.eigenvalues[{i}]", f"reason {i}") for i in range(12)]
        assert as_github(Report("same-weights", "b", several)).splitlines()[-1].startswith("::error ")

    def test_a_plain_pass_says_nothing_and_one_that_noise_may_hide_does(self) -> None:
        assert as_github(Report("same-weights", "b", [made("pass")])) == ""
        hidden = Report("same-weights", "b", [replace(made("pass"), notes=("beyond the tolerance, but within noise",))])
        assert as_github(hidden).startswith("::notice ")
        assert "- note: eig.eigenvalues\\[0\\] of a.pt" in as_markdown(hidden)


class TestHostileNames:
    NASTY = "\x1b[31m\x00\ud800\r| ]]> <b>"

    @pytest.mark.parametrize("name", REPORT_FORMATS)
    def test_no_format_passes_on_what_commands_a_terminal_or_breaks_a_document(self, name: str) -> None:
        verdict = replace(made("regression", self.NASTY, self.NASTY), notes=(self.NASTY,), checkpoint=self.NASTY)
        told = REPORT_FORMATS[name](Report("same-weights", "b", [verdict], [(self.NASTY, self.NASTY), ("b.pt", "")]))
        assert not {"\x1b", "\x00", "\r", "\ud800"} & set(told)
        told.encode()
        if name == "junit":
            ElementTree.fromstring(told)


class TestJunit:
    def test_the_counts_are_those_of_the_cases(self) -> None:
        suites = ElementTree.fromstring(as_junit(replace(REPORT, failures=[("b.pt", "cannot be read")])))
        (suite,) = suites
        cases = suite.findall("testcase")
        for element in (suites, suite):
            assert element.get("tests") == str(len(cases)) == "7"
            assert element.get("failures") == str(len(suite.findall("testcase/failure"))) == "1"
            assert element.get("errors") == str(len(suite.findall("testcase/error"))) == "2"
            assert element.get("skipped") == str(len(suite.findall("testcase/skipped"))) == "1"
        assert all(case.get("name") and case.get("classname") for case in cases)
        failure = suite.find("testcase/failure")
        assert failure is not None
        assert failure.get("message") == "because"
        assert "do this" in (failure.text or "")

    def test_text_that_is_no_xml_is_made_so(self) -> None:
        nasty = made("regression", 'eig.layer_eigenvalue[<a>&"]', "\x1b[31m & <b>\x00")
        suites = ElementTree.fromstring(as_junit(Report("same-weights", "b", [nasty])))
        failure = suites.find("testsuite/testcase/failure")
        assert failure is not None
        assert "& <b>" in (failure.get("message") or "")


class TestMarkdown:
    def test_the_table_has_as_many_cells_in_each_row(self) -> None:
        nasty = made("regression", "eig.layer_eigenvalue[a|b]", "one\ntwo | <b>")
        lines = as_markdown(Report("same-weights", "b", [*REPORT.verdicts, nasty])).splitlines()
        table = [line for line in lines if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
        assert len(table) == 2 + len(REPORT.verdicts) + 1
        assert "two \\| \\<b\\>" in "\n".join(lines)

    def test_the_heading_says_the_outcome(self) -> None:
        assert as_markdown(REPORT).startswith("### landscape check: 1 regression, 1 inconclusive")


class TestHtml:
    def test_the_page_has_a_row_for_each_verdict_and_what_failed(self) -> None:
        nasty = made("regression", 'eig.layer_eigenvalue[<script>&"]', "<b>\x1b[31m")
        page = ParsedPage(as_html(Report("same-weights", "<b>", [*REPORT.verdicts, nasty], [("<i>", "<u>")])))
        assert len(page.named("tr")) == 1 + len(REPORT.verdicts) + 1
        assert len(page.named("script")) == 1
        assert not page.named("b") + page.named("i") + page.named("u")
        texts = [one.text for one in page.named("p")]
        assert any(text.startswith("1 error, 2 regression") and "exit code 2" in text for text in texts)

    def test_rows_are_those_of_the_table(self) -> None:
        rows = ParsedPage(as_html(REPORT)).named("tr")[1:]
        assert [row.text for row in rows] == ["".join(cells) for cells in report_rows(REPORT)]
