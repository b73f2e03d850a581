"""Every analysis of every stranger is right, or refused in words."""

from __future__ import annotations

import pytest

from strangers.answers import Answer
from strangers.catalog import AWAITING_CHECKS, STRANGERS
from strangers.stranger import Stranger
from strangers.table import PAGE, row
from strangers.verdicts import NUMBER_STANDS, Verdict, verdict, verdicts

ALLOWED = {
    "right": {"right"},
    "refused": {"refused", "inconclusive"},
    "said": {"right", "refused", "inconclusive"},
}


AT_A_MINIMUM = (  # or so near that the curvature raises the loss around them by more than the slope lowers it
    "nearly converged",
    "decay in the loss",
    "weight decay",
    "moving average in eval mode",
    "embedding tied to the head",
    "leaf in a closure",
    "dead net",
)
AT_NO_MINIMUM = ("flat directions", "batch statistics", "NLLLoss(weight=)", "InfoNCE as objective", "hypernetwork")


def is_allowed(stranger: Stranger, analysis: str, verdict: Verdict) -> bool:
    """Whether this verdict is one that the stranger must get.

    Kronecker factors do not exist for every model, not every loss rises along its gradient, and single samples
    cannot always be chosen.
    """
    often = ("memorization", "critical", "influence")
    optional = analysis in stranger.cannot or (stranger.expect == "right" and analysis in often)
    allowed = ALLOWED["said"] if optional else ALLOWED[stranger.expect]
    return verdict.word in allowed


@pytest.mark.parametrize("name", [name for name in STRANGERS if name not in AWAITING_CHECKS])
def test_every_analysis_of_a_stranger_is_right_or_refused_in_words(name: str) -> None:
    stranger = STRANGERS[name]
    words = verdicts(stranger)
    bad = {analysis: verdict for analysis, verdict in words.items() if not is_allowed(stranger, analysis, verdict)}
    assert not bad, "\n".join(f"{name}: {analysis}: {verdict.word}: {verdict.why}" for analysis, verdict in bad.items())
    assert row(stranger, words) in PAGE.read_text(), "docs/trust.md is not up to date: python docs/strangers.py"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, {"right"}) for name in AT_A_MINIMUM),
        *((name, {"inconclusive"}) for name in AT_NO_MINIMUM),
        *((name, ALLOWED["refused"]) for name in ("dropout left on", "sum for a mean", "stop-gradient targets")),
    ],
)
def test_the_learning_coefficient_of_a_stranger_is_right_or_refused_in_words(name: str, words: set[str]) -> None:
    found = verdict(STRANGERS[name], Answer(STRANGERS[name]), "llc")
    assert found.word in words, found.why
    assert NUMBER_STANDS in found.why or name not in AT_NO_MINIMUM


def test_there_are_many_strangers_and_each_says_who_brings_it() -> None:
    assert len(STRANGERS) >= 80
    assert all(stranger.who for stranger in STRANGERS.values())
    assert set(AWAITING_CHECKS) <= set(STRANGERS)
