"""Measurements that are resumed from every state that they yield."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import deepcopy
from typing import Any

from analysis_contract import drained

from landscape.analyses.base import Progress


def resumed_results(measure: Callable[[Any], Generator[Progress, None, Any]]) -> tuple[Any, list[Any]]:
    """The result of a whole run, and those of runs that resume each of its states."""
    states, steps = [], measure({})
    while True:
        try:
            states.append(deepcopy(dict(next(steps).state())))
        except StopIteration as end:
            return end.value, [drained(measure(state))[1] for state in states]
