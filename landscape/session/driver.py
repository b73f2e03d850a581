"""Runs an analysis: from its options, through its measurement, to its stored result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses import ANALYSES
from landscape.analyses.base import Analysis, Progress, Result, State
from landscape.compute.out_of_memory import explain_out_of_memory
from landscape.compute.turns import take_turn
from landscape.errors import Interrupted, OutputError, RankError, UsageError, safe_excerpt, suggest
from landscape.session.attributes import result_attributes
from landscape.session.part_snapshots import PartSnapshotWriter, add_pieces, delete_snapshot
from landscape.session.progress import ProgressCallback, ignore_progress
from landscape.session.record import MeasurementRecord
from landscape.session.stop import StopSignals
from landscape.session.unfinished import NO_EARLIER_WORK, EarlierWork, SnapshotWriter, refuse_damaged, resume_snapshot
from landscape.storage import paths
from landscape.storage.array_files import save_arrays
from landscape.storage.lock import hold_lock
from landscape.storage.provenance import SCHEMA, STREAM, STREAM_CHUNK, Fingerprint
from landscape.storage.read import read_results
from landscape.storage.write import require_results_file, write_results

if TYPE_CHECKING:
    from landscape.compute.ranks import Ranks
    from landscape.objective import Objective


def run(
    analysis: Analysis | str,
    objective: Objective,
    *,
    output: str | Path | None = None,
    report: ProgressCallback = ignore_progress,
) -> Any:
    """The analysis' result; with `output` it is also written, and an interrupted earlier run is resumed.

    A name, such as "eig", stands for the analysis with its default options. Raises UsageError for what is no analysis,
    and OutputError if the result cannot be written.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Eig(k=2), objective, output="mlp.landscape.h5")
    >>> bool(result.converged.all()), result.trouble()
    (True, None)
    """
    chosen = as_analysis(analysis)
    record = execute(chosen, objective, output=Path(output) if output else None, report=report)
    if record.problem is not None:
        raise record.problem
    return record.result


def as_analysis(given: Any) -> Analysis:
    """The analysis itself, or that of a name; raises UsageError, with what to pass, for anything else."""
    if isinstance(given, Analysis):
        return given
    kinds = {kind.name: kind for kind in ANALYSES}
    if isinstance(given, str) and given in kinds:
        return kinds[given]()
    if isinstance(given, type) and issubclass(given, Analysis):
        raise UsageError(f"{given.__name__} is a class of analyses", fix=f"landscape.{given.__name__}()")
    name = (
        suggest(safe_excerpt(given), kinds)
        if isinstance(given, str)
        else f"{type(given).__name__} {safe_excerpt(given)}"
    )
    raise UsageError(f"{name} is no analysis", fix=f"landscape.Eig(k=5), or a name: {', '.join(kinds)}")


def execute(
    analysis: Analysis,
    objective: Objective,
    *,
    output: Path | None = None,
    snapshot: Path | None = None,
    restart: bool = False,
    report: ProgressCallback = ignore_progress,
    stop: StopSignals | None = None,
    say: Callable[[str], None] = lambda line: None,
    deliver: bool = True,
) -> MeasurementRecord:
    """Measures, writes the result into `output` if it is given, and returns both.

    A snapshot beside the output is resumed if its fingerprint fits; UsageError lists what differs if it does not,
    unless `restart` discards it. Without `deliver` nothing is written but the result and its sidecars. Without output
    nothing is written but, if that is given, the file `snapshot`, as long as the measurement is not at its end.
    Raises Interrupted, after a snapshot, when `stop` received a signal.
    """
    if objective.function.in_parts:
        analysis.require_parts()
    session = Session(analysis.fit_budget(objective), objective, report, stop or StopSignals(), say)
    if output is not None:
        return session.measure_into(output, restart=restart, deliver=deliver)
    return session.measure() if snapshot is None else session.measure_with_snapshot(snapshot)


@dataclass(frozen=True)
class Session:
    """One measurement: the analysis and its objective, and who hears of its progress.

    `report` is called after each step, `say` with sentences for the user; `stop` receives signals.
    """

    analysis: Analysis
    objective: Objective
    report: ProgressCallback = ignore_progress
    stop: StopSignals = field(default_factory=StopSignals)
    say: Callable[[str], None] = lambda line: None

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Everything that decides the result."""
        return Fingerprint(
            {
                **self.objective.identity(),
                **self.analysis.ingredients(self.objective),
                **self.analysis.identity(),
                "analysis": self.analysis.name,
                "schema": SCHEMA,
                **({"random_numbers": STREAM} if self.objective.space.size > STREAM_CHUNK else {}),
            }
        )

    def measure(self, earlier: EarlierWork = NO_EARLIER_WORK, snapshot: Path | None = None) -> MeasurementRecord:
        """Measures from the earlier work to the end, with snapshots in that file, and writes nothing else."""
        from landscape.objective.checks import closing

        in_parts = self.objective.function.in_parts
        if self.analysis.needs_weights:
            self.objective.function.require_weights(self.analysis.name)
        fingerprint = self.fingerprint  # before the measurement, which may take hours
        self._require_same_measurement()
        began = time.monotonic() - earlier.seconds
        with take_turn():
            before = closing.begin(self.objective)
        writer = None
        if snapshot is not None and (in_parts or self.ranks.is_first):
            kind = PartSnapshotWriter if in_parts else SnapshotWriter
            writer = kind(snapshot, fingerprint, self.objective, began, self.say)
        resumed = refuse_damaged(earlier.snapshot) if earlier.snapshot else nullcontext()
        with (
            self.objective.vectors(),
            self.stop.defer(),
            explain_out_of_memory(f"while measuring {self.analysis.name}", kept=snapshot),
            resumed,
        ):
            result = self._finish(self.analysis.measure(self.objective, earlier.state), writer)
            with take_turn():
                found = closing.check_afterwards(
                    self.objective, before, differentiates=self.analysis.differentiates(self.objective)
                )
        noted = [finding.found for finding in found if finding.verdict == "noted"]
        result = replace(result, checks=(*self.objective.checks, *found), notes=(*result.notes, *noted))
        seconds = time.monotonic() - began
        attributes = result_attributes(self.analysis, self.objective, result, fingerprint, seconds)
        result = replace(result, attributes={"analysis": self.analysis.name, **attributes})
        return MeasurementRecord(self.analysis, result, attributes)

    def measure_with_snapshot(self, snapshot: Path) -> MeasurementRecord:
        """Measures, from the work in that file on if it is of this measurement; removes the file at the end."""
        try:
            earlier = resume_snapshot(snapshot, self.fingerprint, self.objective, self.say)
        except (UsageError, OutputError):  # of another checkpoint, or damaged
            earlier = None
        record = self.measure(earlier or NO_EARLIER_WORK, snapshot)
        delete_snapshot(snapshot)
        return record

    def measure_into(self, output: Path, *, restart: bool = False, deliver: bool = True) -> MeasurementRecord:
        """Measures and writes the result into the file `output`, which another process cannot use meanwhile.

        An inconclusive result does not replace a complete one, and leaves its snapshot behind if more work would do.
        """
        snapshot, first = paths.snapshot_file(output, self.analysis.name), self.ranks.first
        self._require_same_measurement()  # before earlier work is compared with what one of the ranks would measure
        self.ranks.agree_on_memory()
        with ExitStack() as lock:
            first(partial(self._open, output, lock, deliver=deliver))
            discarded = _time_of(snapshot) if restart else None
            record = self.measure(self._earlier_work(output, snapshot, restart=restart), snapshot)
            try:
                with self.stop.defer():
                    kept, written = first(partial(self._conclude, record, output, snapshot, deliver=deliver))
            except OutputError as error:
                if _time_of(snapshot) in (None, discarded):  # none, or another run's
                    return replace(record, problem=error)
                return replace(record, problem=_with_kept_work(error, snapshot, restart=restart), snapshot=snapshot)
        if written and (requested := max(self.ranks.gather(self.stop.requested, "the end of a measurement"))):
            stopped = Interrupted(requested, f"stopped; the result is in {output}")
            stopped.shared = True
            raise stopped
        return replace(record, snapshot=kept, written=written)

    def _open(self, output: Path, lock: ExitStack, *, deliver: bool) -> None:
        """Takes the results file for this measurement, until `lock` is closed."""
        lock.enter_context(hold_lock(output))
        require_results_file(output)
        if deliver:
            self.analysis.check_outputs(self.objective.alone(), output)

    def _conclude(
        self, record: MeasurementRecord, output: Path, snapshot: Path, *, deliver: bool
    ) -> tuple[Path | None, tuple[Path, ...]]:
        """Writes the result, unless a complete one is there and it is not, and then removes a snapshot of no more use.

        Returns the snapshot that is kept, and the files that are written.
        """
        written: tuple[Path, ...] = ()
        if record.result.trouble() and holds_complete_result(output, self.analysis.name):
            self.say(f"kept the complete result in {output}; this inconclusive one is not stored")
        else:
            self._announce_replacement(output)
            written = self._write(record, output, deliver=deliver)
        trouble = record.result.inconclusive()
        if trouble is None or trouble.kind != "unfinished":  # more work would not do
            delete_snapshot(snapshot)
        return snapshot if snapshot.exists() else None, written

    @property
    def ranks(self) -> Ranks:
        """The processes that measure together."""
        return self.objective.ranks

    def _require_same_measurement(self) -> None:
        """Raises RankError if the ranks are not about to measure the same: the first that differs, and in what."""
        if self.ranks.size == 1:
            return
        every = self.ranks.gather(self.fingerprint.to_json(), "what is measured")
        other = next((rank for rank, theirs in enumerate(every) if theirs != every[0]), None)
        if other is not None:
            lines = Fingerprint.from_json(every[0]).differences(Fingerprint.from_json(every[other]))
            differences = "; ".join(lines).replace(" here", " on rank 0").replace(" there", f" on rank {other}")
            error = RankError(other, f"rank {other} measures something else than rank 0", why=differences)
            error.shared = True
            raise error

    def _earlier_work(self, output: Path, snapshot: Path, *, restart: bool) -> EarlierWork:
        """What the measurement begins with: a snapshot, else what other results in the output tell, else nothing."""
        in_parts = self.objective.function.in_parts
        add: dict[str, Any] = {"complete": partial(add_pieces, self.objective)} if in_parts else {}  # type: ignore[arg-type]
        resume = partial(resume_snapshot, snapshot, self.fingerprint, self.objective, self.say, **add)
        earlier = None if restart else resume()
        return earlier if earlier is not None else EarlierWork(self.ranks.first(partial(self._warm_start, output)))

    def _warm_start(self, output: Path) -> State | None:
        stored = read_results(output) if output.exists() else {}
        state = self.analysis.warm_start(self.objective.alone(), stored, output) if stored else None
        if state is None or self.ranks.size == 1:
            return state
        return {name: np.asarray(part) for name, part in state.items()}  # on other machines there may be no such file

    def _finish(self, steps: Generator[Progress, None, Result], writer: SnapshotWriter | None) -> Result:
        """The result after the last step; saves snapshots on the way, and one more if the result is inconclusive."""
        progress: Progress | None = None  # stays None if an earlier run had come to the same limit
        while True:
            try:
                progress = self._next_step(steps)
            except StopIteration as end:
                result: Result = end.value
                break
            self.report(progress)
            if requested := self.ranks.step(progress.done, self.stop.requested):
                stopped = self._interruption(requested, progress, writer)
                stopped.shared = True
                raise stopped
            if writer:
                writer.save_if_due(progress)
        if writer and progress is not None and result.trouble():
            writer.save(progress)
        return result

    def _next_step(self, steps: Generator[Progress, None, Result]) -> Progress:
        with self.objective.precision():
            return next(steps)

    def _interruption(self, number: int, progress: Progress, writer: SnapshotWriter | None) -> Interrupted:
        """The error that ends the run after a signal of this number, once its work is saved."""
        if writer is None:
            return Interrupted(number, "stopped; nothing is kept: work is kept beside an output alone")
        if (problem := writer.save(progress)) is not None:
            return Interrupted(number, f"stopped; the work is not saved: {problem.what}", fix=problem.fix)
        return Interrupted(
            number,
            f"stopped; the work is saved in {writer.path}",
            fix="the same command resumes it (--restart discards it)",
        )

    def _announce_replacement(self, output: Path) -> None:
        """Says in what the stored result, which is about to be replaced, was measured differently."""
        if differences := differences_from_stored(output, self.analysis.name, self.fingerprint):
            self.say(
                f"replaced the earlier /{self.analysis.name} in {output} (-o keeps both), "
                f"which had {'; '.join(differences)}"
            )

    def _write(self, record: MeasurementRecord, output: Path, *, deliver: bool) -> tuple[Path, ...]:
        """Writes the result, its sidecars and, if asked, the analysis' own outputs; returns the paths."""
        analysis, result, objective = self.analysis, record.result, self.objective.alone()
        write_results(output, analysis.name, result, record.attributes, history=" ".join(["landscape", *sys.argv[1:]]))
        written = [output]
        for suffix, arrays in analysis.sidecars(result, objective).items():
            sidecar = paths.beside(output, suffix)
            about = {"fingerprint": str(record.attributes["fingerprint"]), "analysis": analysis.name}
            save_arrays(sidecar, arrays, about)
            written.append(sidecar)
        if deliver and not result.trouble():
            written += analysis.write_outputs(result, objective, output, self.say)
        return tuple(written)


def _time_of(snapshot: Path) -> int | None:
    """When a snapshot was written; None without one."""
    return snapshot.stat().st_mtime_ns if snapshot.exists() else None


def _with_kept_work(error: OutputError, snapshot: Path, *, restart: bool) -> OutputError:
    """The error of a result that could not be written, with what is left of the work and how it goes on."""
    again = "the same command without --restart" if restart else "the same command"
    kept = f"the work until the last snapshot is kept in {snapshot}, from which {again} goes on"
    return OutputError(error.what, why="; ".join(filter(None, [error.why, kept])), fix=error.fix)


def holds_complete_result(output: Path, analysis: str) -> bool:
    """Whether the file holds a conclusive result of this analysis."""
    stored = read_results(output).get(analysis) if output.exists() else None
    return stored is not None and stored.attributes.get("status") == "complete"


def differences_from_stored(output: Path, analysis: str, fingerprint: Fingerprint) -> list[str]:
    """In what the stored result of this analysis was measured differently; empty if there is none to compare."""
    stored = read_results(output).get(analysis) if output.exists() else None
    try:
        earlier = Fingerprint.from_json(str(stored.attributes.get("fingerprint_parts", "")) if stored else "")
    except ValueError:
        return []
    return [
        line.partition(": ")[0] + line.partition(" here,")[2].removesuffix(" there")
        for line in fingerprint.differences(earlier)
    ]
