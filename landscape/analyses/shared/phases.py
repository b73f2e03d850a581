"""Measurements in several phases: the snapshot of each phase stands beside those of the others, under a prefix."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from landscape.analyses.base import Progress, State

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
    """Runs phases one after another; each progress carries the states of all phases up to then.

    A phase that goes further than it had in the earlier run, as one does with a larger limit of its work, makes what
    later phases had measured with its earlier outcome stale: they begin again, but for those that are independent.
    """

    resume: State | None

    def __post_init__(self) -> None:
        self._states: dict[str, Callable[[], State]] = {}
        self._went_further = False

    def run(
        self, phase: str, steps: Callable[[State], Generator[Progress, None, T]], *, independent: bool = False
    ) -> Generator[Progress, None, T]:
        """Yields the progress of `steps`, which is called with the phase's own state, and returns its value.

        `independent` says that the phase uses nothing that earlier phases have measured.
        """
        state = {} if self._went_further and not independent else phase_state(phase, self.resume or {})
        self._states[phase] = partial(dict, state)
        running, moved = steps(state), False
        while True:
            try:
                step = next(running)
            except StopIteration as end:
                value: T = end.value
                self._went_further |= moved and self._has_more_than(phase)
                return value
            self._states[phase], moved = step.state, True
            yield replace(step, state=self._all_states, phase=phase)

    def _has_more_than(self, phase: str) -> bool:
        """Whether a phase's state is no longer that of the earlier run; no question where that had no later phase."""
        resume = self.resume or {}
        known = tuple(f"{one}." for one in self._states)
        if all(name.startswith(known) for name in resume):
            return False
        earlier, state = phase_state(phase, resume), self._states[phase]()
        return state.keys() != earlier.keys() or not all(map(_is_equal, state.values(), map(earlier.get, state)))

    def _all_states(self) -> State:
        phases = self._states.items()
        return {name: values for phase, state in phases for name, values in prefix_state(phase, state()).items()}


def _is_equal(one: np.ndarray, other: np.ndarray | None) -> bool:
    """Whether two arrays hold the same numbers, NaN included."""
    if other is None or np.shape(one) != np.shape(other):
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
