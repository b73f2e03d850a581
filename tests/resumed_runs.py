"""Measurements that are resumed from every state that they yield."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import deepcopy
from typing import Any

from analysis_contract import drained, same

from landscape import Objective
from landscape.analyses.base import Analysis, Progress


def resumed_results(measure: Callable[[Any], Generator[Progress, None, Any]]) -> tuple[Any, list[Any]]:
    """The result of a whole run, and those of runs that resume each of its states."""
    states, steps = [], measure({})
    while True:
        try:
            states.append(deepcopy(dict(next(steps).state())))
        except StopIteration as end:
            return end.value, [drained(measure(state))[1] for state in states]


def assert_every_state_resumes(analysis: Analysis, objective: Objective, most: int = 12) -> Any:
    """The result of a whole run, after runs from at most so many of its states gave its bits, remarks and remedy."""
    states, steps = [], analysis.measure(objective)
    while True:
        try:
            states.append(deepcopy(dict(next(steps).state())))
        except StopIteration as end:
            whole = end.value
            break
    for place in sorted({round(one * (len(states) - 1) / (most - 1)) for one in range(most)}):
        resumed = drained(analysis.measure(objective, resume=states[place]))[1]
        assert same(resumed, whole), place
        assert resumed.remarks() == whole.remarks(), place
        assert resumed.notes == whole.notes, place
        assert resumed.trouble() == whole.trouble(), place
    return whole
