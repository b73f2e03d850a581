"""The page of a gate's verdicts."""

from __future__ import annotations

from parsed_page import ParsedPage

from landscape.report.verdicts import verdict_page

HEAD = ("checkpoint", "metric", "baseline", "candidate", "change", "allowed", "verdict")


def test_verdicts_reasons_and_failures_are_shown_and_escaped() -> None:
    rows = [("a.pt", "eig<0>", "1", "2", "+100 %", "2%", "regression"), ("b.pt", "m", "1", "1", "0 %", "2%", "pass")]
    page = ParsedPage(verdict_page(["1 regression"], HEAD, rows, ["it <changed>"], [("c.pt", "no <file>\n  fix:  b")]))
    assert [one.text for one in page.named("tr")][1] == "a.pteig<0>12+100 %2%regression"
    assert [one.text for one in page.named("span") if one.attributes["class"] == "alarm"] == ["regression"]
    assert "it <changed>" in [one.text for one in page.named("li")]
    assert "c.pt: no <file>; fix:  b" in [one.text for one in page.named("li")]


def test_without_failures_there_is_no_notice() -> None:
    page = ParsedPage(verdict_page(["1 pass"], HEAD, [], [], []))
    assert not [one for one in page.elements if "problem" in one.attributes.get("class", "")]
