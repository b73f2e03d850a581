"""Measurements in phases: states side by side, and a phase that was finished is not run again."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.shared.phases import Phases, phase_state, prefix_state

Steps = Generator[Progress, None, int]


def count(upto: int, saved: State) -> Steps:
    """Counts from the saved number to `upto`, and returns it."""
    number = int(saved["number"]) if saved else 0
    while number < upto:
        number += 1
        yield Progress(number, upto, f"{number}", lambda now=number: {"number": np.asarray(now)})  # type: ignore[misc]
    return number


def two_phases(resume: State | None) -> Generator[Progress, None, tuple[int, int]]:
    phases = Phases(resume)
    first = yield from phases.run("first", lambda saved: count(2, saved))
    second = yield from phases.run("second", lambda saved: count(3, saved))
    return first, second


def test_the_states_of_phases_are_told_apart_by_their_prefix() -> None:
    state = {**prefix_state("a", {"x": np.ones(1)}), **prefix_state("ab", {"x": np.zeros(2)})}
    assert set(state) == {"a.x", "ab.x"}
    assert phase_state("a", state)["x"].tolist() == [1.0]
    assert phase_state("ab", state)["x"].tolist() == [0.0, 0.0]
    assert phase_state("b", state) == {}


def drained(resume: State | None) -> tuple[list[str], list[State], tuple[int, int]]:
    """The notes, the state right after each step, and the value."""
    notes, states, running = [], [], two_phases(resume)
    while True:
        try:
            step = next(running)
        except StopIteration as end:
            return notes, states, end.value
        notes.append(step.note)
        states.append(step.state())


def test_each_state_holds_all_phases_up_to_then() -> None:
    notes, states, value = drained(None)
    assert notes == ["1", "2", "1", "2", "3"]
    assert value == (2, 3)
    assert {name: int(number) for name, number in states[1].items()} == {"first.number": 2}
    assert {name: int(number) for name, number in states[3].items()} == {"first.number": 2, "second.number": 2}


def test_every_state_leads_to_the_same_end_without_repeating_a_step() -> None:
    notes, states, value = drained(None)
    for index, state in enumerate(states):
        rest, _, again = drained(state)
        assert again == value
        assert rest == notes[index + 1 :]
