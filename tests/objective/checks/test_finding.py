"""Findings as JSON and back; what is no list of findings is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import OutputError
from landscape.objective.checks.finding import Finding, from_json, to_json

TEXT = st.text(max_size=20)


@given(
    st.lists(
        st.builds(
            Finding,
            TEXT,
            TEXT,
            st.sampled_from(["holds", "noted", "broken", "not run"]),
            TEXT,
            TEXT,
            TEXT,
            st.none() | st.floats(allow_nan=False),
        ),
        max_size=3,
    )
)
def test_findings_survive_json(findings: list[Finding]) -> None:
    assert from_json(to_json(findings)) == tuple(findings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "{}x",
        "[1]",
        '[{"check": "a"}]',
        '[{"check": "a", "claim": "b", "verdict": "fine", "found": "c"}]',
        "[[]]",
    ],
)
def test_what_is_no_list_of_findings_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match=r"checks of a stored result cannot be read\n.*measure again"):
        from_json(text)


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding("slope", "the gradient is the derivative of the loss", "holds", "relative difference 1e-9")
    assert str(finding) == "slope: the gradient is the derivative of the loss: yes, relative difference 1e-9"
