"""Measurements in several phases: the snapshot of each phase stands beside those of the others, under a prefix."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from landscape.analyses.base import Progress, State

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


def prefix_state(phase: str, state: State) -> dict[str, np.ndarray]:
    """The arrays of one phase's state, named `phase.NAME`."""
    return {f"{phase}.{name}": values for name, values in state.items()}


def phase_state(phase: str, state: State) -> dict[str, np.ndarray]:
    """The arrays of one phase in the state of all phases, under their own names; empty if there are none."""
    start = f"{phase}."
    return {name.removeprefix(start): values for name, values in state.items() if name.startswith(start)}


@dataclass
class Phases:
    """Runs phases one after another; each progress carries the states of all phases up to then."""

    resume: State | None

    def __post_init__(self) -> None:
        self._states: dict[str, Callable[[], State]] = {}

    def run(self, phase: str, steps: Callable[[State], Generator[Progress, None, T]]) -> Generator[Progress, None, T]:
        """Yields the progress of `steps`, which is called with the phase's own state, and returns its value."""
        state = phase_state(phase, self.resume or {})
        self._states[phase] = partial(dict, state)
        running = steps(state)
        while True:
            try:
                step = next(running)
            except StopIteration as end:
                value: T = end.value
                return value
            self._states[phase] = step.state
            yield replace(step, state=self._all_states)

    def _all_states(self) -> State:
        phases = self._states.items()
        return {name: values for phase, state in phases for name, values in prefix_state(phase, state()).items()}
