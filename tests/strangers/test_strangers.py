"""Every analysis of every stranger is right, or refused in words."""

from __future__ import annotations

import pytest

from strangers.catalog import AWAITING_CHECKS, STRANGERS
from strangers.stranger import Stranger
from strangers.verdicts import Verdict, verdicts

ALLOWED = {
    "right": {"right"},
    "refused": {"refused", "inconclusive"},
    "said": {"right", "refused", "inconclusive"},
}


def is_allowed(stranger: Stranger, analysis: str, verdict: Verdict) -> bool:
    """Whether this verdict is one that the stranger must get; Kronecker factors do not exist for every model."""
    optional = analysis == "memorization" or analysis in stranger.cannot
    allowed = ALLOWED["said"] if optional and stranger.expect == "right" else ALLOWED[stranger.expect]
    return verdict.word in allowed


@pytest.mark.parametrize("name", [name for name in STRANGERS if name not in AWAITING_CHECKS])
def test_every_analysis_of_a_stranger_is_right_or_refused_in_words(name: str) -> None:
    stranger = STRANGERS[name]
    bad = {
        analysis: verdict
        for analysis, verdict in verdicts(stranger).items()
        if not is_allowed(stranger, analysis, verdict)
    }
    assert not bad, "\n".join(f"{name}: {analysis}: {verdict.word}: {verdict.why}" for analysis, verdict in bad.items())


def test_there_are_many_strangers_and_each_says_who_brings_it() -> None:
    assert len(STRANGERS) >= 80
    assert all(stranger.who for stranger in STRANGERS.values())
    assert set(AWAITING_CHECKS) <= set(STRANGERS)
