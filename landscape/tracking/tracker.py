"""Adds checkpoints to a history, one after the other: loads, measures, compares with the one before, and saves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landscape import checkpoints
from landscape.analyses import Analysis
from landscape.errors import EXIT_INCONCLUSIVE, Interrupted, LandscapeError, OutputError, UsageError
from landscape.history import History, Moment, read_history
from landscape.history.description import MEASUREMENT, description_of, differences_in_measurement
from landscape.history.edge import EDGE, EDGE_QUANTITIES, EdgeOfStability
from landscape.loading.other_checkpoint import CheckpointLoader
from landscape.objective import Objective
from landscape.session import ProgressCallback, StopSignals, execute, ignore_progress
from landscape.storage import paths
from landscape.tracking.eigenvectors import QUANTITIES, Eigenvectors, load_vectors

SAVING_SHARE = 20  # a history is saved again after so many times what the last saving took
SAME_LOSS = {"float32": 1e-3, "float64": 1e-3}  # relative: other machines and versions of torch round otherwise
SAME_LOSS_OF_NARROW_DTYPES = 1e-2


@dataclass
class Tracker:
    """Measures the checkpoints of a run into `history`, and keeps it in the file `output`.

    `report` makes the callback that hears of the progress on a checkpoint; `say` is called with sentences for the user.
    """

    analyses: tuple[Analysis, ...]
    loader: CheckpointLoader
    run: str = ""
    output: Path | None = None
    edge: EdgeOfStability | None = None
    verbose: bool = False  # whether the findings of checks are said
    stop: StopSignals = field(default_factory=StopSignals)
    report: Callable[[str], ProgressCallback] = lambda title: ignore_progress
    say: Callable[[str], None] = lambda line: None
    history: History = field(default_factory=History)
    _before: Eigenvectors | None = None
    _saved_at: float = -1e9
    _saving_seconds: float = 0.0
    _resumed: bool = False  # whether the history is from the file, and was not yet compared with what is measured now
    _said: set[str] = field(default_factory=set)

    def resume(self) -> None:
        """Goes on from the history in the output file, if there is one; raises OutputError if that is no history."""
        if self.output is not None and self.output.exists():
            self.history, self._resumed = read_history(self.output), True
            self._before = load_vectors(self.output)
            self.say(f"{self.output} holds {len(self.history.moments)} checkpoints, which are not measured again")

    def begin(self, folder: Path, held: Sequence[tuple[str, Path]]) -> None:
        """Looks whether a history from a file can go on: with the names and paths of checkpoints that it holds.

        Checkpoints that could not be measured, and that are gone from the folder, leave it. Raises UsageError if the
        history was measured otherwise than now, with other options, data, or another function: the loss of the last
        checkpoint that it holds is evaluated again.
        """
        if not self._resumed:
            return
        kept = [each for each in self.history.moments if not each.trouble or (folder / each.checkpoint).exists()]
        self.history = replace(self.history, moments=tuple(kept))
        if not held:
            return
        name, path = held[-1]
        objective = self.loader.load(path)
        self._require_same_measurement(objective, name)
        self._require_same_loss(objective, name)

    def holds(self, name: str, path: Path) -> bool:
        """Whether the history has this checkpoint, and its file is still the same."""
        moment = next((moment for moment in self.history.moments if moment.checkpoint == name), None)
        return moment is not None and bool(moment.sha256) and moment.sha256 == digest_of_file(path)

    def add(self, path: Path, step: float, name: str) -> Moment:
        """Measures a checkpoint; what went wrong with it is kept as its trouble, and the others go on.

        Raises Interrupted after a signal, and UsageError if the history was measured otherwise.
        """
        try:
            objective = self.loader.load(path)
            self._require_same_measurement(objective, name)
            self._say_notes(objective)
            results = {each.name: self._measure(each, objective, name) for each in self.analyses}
            self._append(objective, step, name, results)
        except (Interrupted, _OtherMeasurementError):
            raise
        except LandscapeError as error:
            self.note(f"{name}: {error.what}")
            known = digest_of_file(path) if error.exit_code == EXIT_INCONCLUSIVE else ""  # others are tried again
            self.history = self.history.with_results(step, name, {}, {}, sha256=known, trouble=error.what)
        self._save_if_due()
        return next(moment for moment in self.history.moments if moment.checkpoint == name)

    def save(self) -> None:
        """Writes the history, and the eigenvectors that the next checkpoint is compared with."""
        if self.output is None:
            return
        began = time.monotonic()
        self.history.save(self.output)
        if self._before is not None:
            self._before.save(self.output)
        self._saved_at = time.monotonic()
        self._saving_seconds = self._saved_at - began

    def note(self, sentence: str) -> None:
        """Says a sentence, once in a run."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.say(sentence)

    def _measure(self, analysis: Analysis, objective: Objective, name: str) -> Any:
        snapshot = paths.snapshot_file(self.output, analysis.name) if self.output else None
        report = self.report(f"{analysis.name} {name}")
        record = execute(analysis, objective, snapshot=snapshot, report=report, stop=self.stop, say=self.say)
        for finding in record.result.checks if self.verbose else ():
            self.say(f"{name}: {finding}")
        return record.result

    def _append(self, objective: Objective, step: float, name: str, results: Mapping[str, Any]) -> None:
        """Adds results to the history, with what follows from them and the checkpoint before."""
        reference = objective.reference
        values: dict[str, Any] = {"loss": reference.loss, "gradient_norm": reference.gradient_norm}
        self.history = self.history.with_results(step, name, results, values, sha256=objective.source.sha256)
        extra = {**self._cosines(name, results), **self._edge_at(step, objective, name)}
        moment = next(moment for moment in self.history.moments if moment.checkpoint == name)
        moment = replace(moment, values={**moment.values, **extra})
        self.history = self.history.with_moment(moment, {**QUANTITIES, **EDGE_QUANTITIES})

    def _cosines(self, name: str, results: Mapping[str, Any]) -> dict[str, Any]:
        """The cosines of eigenvectors with those of the checkpoint before, if these are at hand."""
        vectors = getattr(results.get("eig"), "vectors", None)
        if vectors is None:
            return {}
        earlier, self._before = self._before, Eigenvectors(name, vectors)
        names = self.history.checkpoints
        place = names.index(name)
        if earlier is None or place == 0 or names[place - 1] != earlier.checkpoint:
            return {}
        return self._before.compare(earlier)

    def _edge_at(self, step: float, objective: Objective, name: str) -> dict[str, float]:
        """The edge of stability, if it is asked for; says, once each, where the optimizer's state does not fit it."""
        if self.edge is None:
            return {}
        groups = objective.source.groups
        for note in self.edge.notes(step, groups, name):
            subject = note.replace(name, "")
            if subject not in self._said:
                self._said.add(subject)
                self.say(note)
        return self.edge.values_at(step, groups)

    def _require_same_measurement(self, objective: Objective, name: str) -> None:
        """Takes note of how the first checkpoint is measured.

        Raises UsageError if the history in the file was measured otherwise, and OutputError if this checkpoint is.
        """
        description = description_of(objective, self.analyses)
        if MEASUREMENT not in self.history.attributes:
            edge = {EDGE: self.edge.words(objective.source.groups)} if self.edge else {}
            self.history = replace(self.history, attributes={"run": self.run, **edge, **description})
            return
        differences = differences_in_measurement(description, self.history)
        resumed, self._resumed = self._resumed, False
        if not differences:
            return
        why = "; ".join(differences)
        if resumed:
            raise _OtherMeasurementError(
                f"the history in {self.output} was measured otherwise", why=why, fix="--restart, or -o FILE beside it"
            )
        raise OutputError(f"{name} is not measured as the checkpoints before it: {why}", fix="leave it out")

    def _require_same_loss(self, objective: Objective, name: str) -> None:
        """Raises UsageError if a checkpoint's loss is not the one that the history holds."""
        moment = next(moment for moment in self.history.moments if moment.checkpoint == name)
        before, now = float(moment.values.get("loss", math.nan)), float(objective.value())
        dtype = str(objective.dtype).removeprefix("torch.")
        if abs(now - before) > SAME_LOSS.get(dtype, SAME_LOSS_OF_NARROW_DTYPES) * max(abs(now), abs(before)):
            raise UsageError(
                f"the loss of {name} is {now:.6g} now, and {before:.6g} in {self.output}",
                why="the model's code, the loss or the data are not what they were",
                fix="--restart, or -o FILE beside it",
            )

    def _say_notes(self, objective: Objective) -> None:
        """Says the notes on an objective, each once in a run."""
        for note in objective.notes:
            self.note(note)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at > SAVING_SHARE * self._saving_seconds:
            self.save()


class _OtherMeasurementError(UsageError):
    """The history in the file was measured otherwise, so that nothing can be added to it."""


def digest_of_file(path: Path) -> str:
    """The sha256 of a checkpoint as its loading finds it; "" for a file that cannot be read."""
    with suppress(LandscapeError, OSError):
        contents = checkpoints.describe(path)
        return checkpoints.content_sha256(contents.files, path)
    return ""
