"""The flags of `landscape track`: which analyses they choose, with which options."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.errors import UsageError
from landscape_cli.config import Settings
from landscape_cli.track import Tracking
from landscape_cli.tracked_run import choose_analyses


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({}, ["eig"]),
        ({"trace": True}, ["trace"]),
        ({"eig": 3, "trace": True, "sharpness": True}, ["eig", "trace", "sharpness"]),
        ({"measure": ("flatness", "eig")}, ["flatness", "eig"]),
    ],
)
def test_flags_choose_analyses(flags: dict[str, Any], names: list[str]) -> None:
    assert [analysis.name for analysis in choose_analyses(Tracking(**flags), Settings())] == names


def test_options_are_those_of_the_settings_and_flags_win() -> None:
    settings = Settings(None, {"eig": {"k": 7, "tol": 1e-4, "limit": 9}, "trace": {"rtol": 0.2}})
    (eig,) = choose_analyses(Tracking(), settings)
    assert (eig.k, eig.tol) == (7, 1e-4)  # type: ignore[attr-defined]
    eig, trace = choose_analyses(Tracking(eig=2, trace=True, operator="ggn"), settings)
    assert (eig.k, eig.operator, trace.operator, trace.rtol) == (2, "ggn", "ggn", 0.2)  # type: ignore[attr-defined]


def test_an_unknown_analysis_is_refused_with_a_near_one() -> None:
    with pytest.raises(UsageError, match="flatnes"):
        choose_analyses(Tracking(measure=("flatnes",)), Settings())
