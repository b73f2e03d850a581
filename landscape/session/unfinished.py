"""Unfinished work: snapshots of a running measurement in a file beside its results, and their resumption."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from landscape.analyses.base import Progress, State
from landscape.compute.out_of_memory import is_out_of_memory, out_of_memory
from landscape.errors import LandscapeError, OutputError, UsageError
from landscape.storage.array_files import load_arrays, save_arrays
from landscape.storage.provenance import Fingerprint

if TYPE_CHECKING:
    from landscape.objective import Objective

SNAPSHOT_INTERVAL = 20  # times what the last snapshot took: snapshots take at most 5 % of the run
MIN_SECONDS_AT_STAKE = 1.0  # of work since the last snapshot; less is not worth one
# relative: if a resumed run's loss differs by more, its model is another one with the same weights
SAME_MODEL_LOSS_GAP = 1e-4
SNAPSHOT_ATTRIBUTES = frozenset({"fingerprint", "loss", "seconds", "strategies", "micro_batch", "device"})


Complete = Callable[[State, Mapping[str, str], Path], State]


class EarlierWork(NamedTuple):
    """The state that a measurement begins with, and the seconds that earlier runs spent on it."""

    state: State | None = None
    seconds: float = 0.0
    snapshot: Path | None = None  # which holds the state, if one does


NO_EARLIER_WORK = EarlierWork()


@dataclass
class SnapshotWriter:
    """Saves the state of a running measurement in the file `path`.

    `began` is the time (`time.monotonic`) at which the measurement began, earlier runs included.
    """

    path: Path
    fingerprint: Fingerprint
    objective: Objective
    began: float
    say: Callable[[str], None] = lambda line: None
    _problem: LandscapeError | None = None  # why the last snapshot could not be written
    _saved_at: float = field(default_factory=lambda: time.monotonic())
    _cost: float = 0.0  # seconds that the last snapshot took

    def save_if_due(self, progress: Progress) -> None:
        """Saves a snapshot if enough work was done since the last one."""
        if self.is_due():
            self.save(progress)

    def is_due(self) -> bool:
        """Whether enough work was done since the last snapshot."""
        return time.monotonic() - self._saved_at > max(SNAPSHOT_INTERVAL * self._cost, MIN_SECONDS_AT_STAKE)

    def save(self, progress: Progress) -> LandscapeError | None:
        """Replaces the file by the present state; where it cannot be written, says so once and returns why.

        The measurement goes on without snapshots: its result is small, and may fit where a snapshot does not.
        """
        earlier, start = self._problem, time.monotonic()
        try:
            self._write(progress, start)
            self._problem = None
        except Exception as error:
            if not (isinstance(error, OutputError) or is_out_of_memory(error)):
                raise
            self._problem = error if isinstance(error, OutputError) else out_of_memory(error, "for a snapshot")
            if earlier is None:
                self.say(f"no snapshot: {self._problem.what}; the measurement goes on, and could not be resumed")
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start
        return self._problem

    def about(self, now: float) -> dict[str, str]:
        """The texts of the file: of what measurement it is the work, and after how long."""
        return {
            "fingerprint": self.fingerprint.to_json(),
            "loss": repr(self.objective.reference.loss),
            "strategies": self.objective.strategies.to_json(),
            "micro_batch": repr(self.objective.micro_batch),
            "device": str(self.objective.device),
            "seconds": repr(now - self.began),
        }

    def _write(self, progress: Progress, now: float) -> None:
        save_arrays(self.path, progress.state(), self.about(now))


def resume_snapshot(
    path: Path,
    fingerprint: Fingerprint,
    objective: Objective,
    say: Callable[[str], None],
    complete: Complete = lambda state, about, path: state,
) -> EarlierWork | None:
    """The unfinished work in a file, with the objective set to its micro-batch and strategies; None without a file.

    `complete(state, about, path)` adds what lies beside the file to the state.
    Raises UsageError that lists the differences if another measurement left the file, and OutputError if it is damaged.
    """
    loaded = objective.ranks.first(lambda: load_arrays(path) if os.path.lexists(path) else None)
    if loaded is None:
        return None
    state, about = loaded
    if not about.keys() >= SNAPSHOT_ATTRIBUTES:
        raise OutputError(f"{path} is no snapshot of this version of landscape", fix="--restart discards it")
    with refuse_damaged(path):
        differences = fingerprint.differences(Fingerprint.from_json(about["fingerprint"]))
        loss, seconds, micro_batch = float(about["loss"]), float(about["seconds"]), int(about["micro_batch"])
        if not (math.isfinite(seconds) and seconds >= 0 and micro_batch >= 1):
            raise ValueError("seconds or a micro-batch out of range")
        if not differences:
            objective.resume_settings(about["strategies"], micro_batch, about["device"])
    if not differences:
        differences = _loss_difference(objective.reference.loss, loss)
    if differences:
        raise UsageError(
            f"{path} is the unfinished work of another run",
            why="; ".join(differences),
            fix="--restart discards it; -o FILE keeps it and measures elsewhere",
        )
    with refuse_damaged(path):
        whole = objective.ranks.together(lambda: complete(state, about, path))
    say(f"resumed from {path}")
    return EarlierWork(whole, seconds, path)


@contextmanager
def refuse_damaged(path: Path) -> Iterator[None]:
    """Raises OutputError, which names the remedy, where the block cannot use what the snapshot `path` holds."""
    try:
        yield
    except LandscapeError:
        raise
    except Exception as error:  # damaged numbers may raise anything
        if is_out_of_memory(error):
            raise
        raise OutputError(
            f"the work in {path} cannot be resumed: {type(error).__name__}: {error}",
            why="the snapshot is damaged, or the error comes back without it and is a bug",
            fix="--restart discards it",
        ) from error


def _loss_difference(loss: float, earlier: float) -> list[str]:
    """The losses, if they are too far apart for one model; empty if they agree."""
    if abs(loss - earlier) <= SAME_MODEL_LOSS_GAP * abs(earlier):
        return []
    return [f"loss: {loss:.8g} here, {earlier:.8g} there (another model of the same weights?)"]
