"""Measurements in phases: their snapshots stand beside each other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from landscape.analyses.base import Progress, State

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


def prefix_state(phase: str, arrays: State) -> dict[str, np.ndarray]:
    """The snapshot of one phase of a measurement, to stand beside those of others."""
    return {f"{phase}.{name}": values for name, values in arrays.items()}


def phase_state(phase: str, arrays: State) -> dict[str, np.ndarray]:
    """That phase's snapshot among all; empty if there is none."""
    start = f"{phase}."
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}


@dataclass
class Phases:
    """Runs phases one after another; a later one's snapshots hold what the earlier ones came to."""

    resume: State | None

    def __post_init__(self) -> None:
        self._states: dict[str, Callable[[], State]] = {}

    def run(self, phase: str, steps: Callable[[State], Generator[Progress, None, T]]) -> Generator[Progress, None, T]:
        """What `steps` returns, given its own snapshot; yields its progress."""
        saved = phase_state(phase, self.resume or {})
        self._states[phase] = partial(dict, saved)
        running = steps(saved)
        while True:
            try:
                step = next(running)
            except StopIteration as end:
                value: T = end.value
                return value
            self._states[phase] = step.state
            yield replace(step, state=self._together)

    def _together(self) -> State:
        every = self._states.items()
        return {name: values for phase, state in every for name, values in prefix_state(phase, state()).items()}
