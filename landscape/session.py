"""Drives an analysis: resume, report, snapshot, interrupt, write."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from landscape import fields
from landscape.analyses.base import Analysis, Progress, Result, State
from landscape.conditions import Conditions
from landscape.errors import Interrupted, OutputError, UsageError
from landscape.fields import Array, Scalar, described_fields
from landscape.storage import paths
from landscape.storage.array_files import load_arrays, save_arrays
from landscape.storage.lock import hold_lock
from landscape.storage.provenance import SCHEMA, Fingerprint, environment
from landscape.storage.read import StoredResult, read_results, to_record
from landscape.storage.write import require_results_file, write_results

if TYPE_CHECKING:
    from landscape.objective import Objective

SNAPSHOT_SHARE = 20  # a snapshot is due when the last is older than 20 times what it took: at most 5 % of the run
SNAPSHOT_WORTH = 1.0  # seconds of work that must be at stake
JSON_ATTRIBUTES = ("conditions", "options", "resolved_from", "environment", "notes")
SAME_LOSS = 1e-4  # relative: a resumed run whose loss differs more has another model, though its weights are the same

# parts of a fingerprint that tell one matrix from another
SAME_MATRIX = ("weights", "data", "loss", "mode", "parameters", "operator", "preconditioner")

ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The report that reports nothing."""


@dataclass(frozen=True)
class MeasurementRecord:
    """A result with what it was made from: what is printed, and what is stored."""

    analysis: Analysis
    result: Any
    attributes: Mapping[str, Any]
    written: tuple[Path, ...] = ()
    problem: OutputError | None = None  # why the result could not be written; it is not lost for that

    def document(self) -> dict[str, Any]:
        """The measurement as plain data for JSON."""
        return json_document(self.analysis.name, self.result, self.attributes)


def json_document(name: str, result: Result, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A result and what it was made from as plain data for JSON; NaN and infinity become null."""
    return {
        "schema": SCHEMA,
        "analysis": name,
        "status": attributes["status"],
        "checkpoint": {"path": attributes["checkpoint"], "sha256": attributes["checkpoint_sha256"]},
        **{key: json.loads(attributes[key]) for key in JSON_ATTRIBUTES},
        **{key: attributes[key] for key in ("fingerprint", "data_sha256", "mode", "device", "dtype", "wall_time_s")},
        "result": plain_values(result),
    }


@dataclass
class StopSignals:
    """SIGINT and SIGTERM while the block runs: during a measurement they wait for the current step and save.

    Outside a measurement, or the second time, they raise Interrupted at once.
    """

    requested: int = 0
    deferring: bool = False
    _earlier: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._earlier[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.deferring or self.requested:
            raise Interrupted(number, "stopped; nothing was saved since the last snapshot")
        self.requested = number
        print("stopping after the current product; once more to stop at once", file=sys.stderr)


def run(
    analysis: Analysis,
    objective: Objective,
    *,
    output: str | Path | None = None,
    report: ProgressCallback = ignore_progress,
) -> Any:
    """The analysis' result; with `output` it is also written, and an interrupted earlier run is gone on with."""
    measurement = execute(analysis, objective, output=Path(output) if output else None, report=report)
    if measurement.problem is not None:
        raise measurement.problem
    return measurement.result


def execute(
    analysis: Analysis,
    objective: Objective,
    *,
    output: Path | None = None,
    restart: bool = False,
    report: ProgressCallback = ignore_progress,
    stop: StopSignals | None = None,
    say: Callable[[str], None] = lambda line: None,
    deliver: bool = True,
) -> MeasurementRecord:
    """Measures, writes the result into `output` if it is given, and returns both.

    A snapshot beside the output is resumed if its fingerprint fits; UsageError lists what differs if it does not,
    unless `restart` discards it. Without `deliver` nothing is written but the result and its sidecars. Raises
    Interrupted, after a snapshot, when `stop` received a signal.
    """
    stop = stop or StopSignals()
    fingerprint = Fingerprint(
        {
            **objective.identity(),
            **analysis.ingredients(objective),
            **analysis.identity(),
            "analysis": analysis.name,
            "schema": SCHEMA,
        }
    )
    if output is None:
        result, seconds = _drive(analysis, objective, None, None, fingerprint, report, stop)
        return MeasurementRecord(analysis, result, _attributes(analysis, objective, result, fingerprint, seconds))
    snapshot = paths.snapshot_file(output, analysis.name)
    with hold_lock(output):
        require_results_file(output)
        if deliver:
            analysis.check_outputs(objective, output)
        resume = None if restart else _resumable(snapshot, fingerprint, objective, say)
        if resume is None and output.exists():
            known = analysis.warm_start(objective, read_results(output), output)
            resume = (known, 0.0) if known else None
        result, seconds = _drive(analysis, objective, snapshot, resume, fingerprint, report, stop)
        attributes = _attributes(analysis, objective, result, fingerprint, seconds)
        if result.trouble() and _complete(output, analysis.name):
            say(f"kept the complete result in {output}; this inconclusive one is not stored")
            return MeasurementRecord(analysis, result, attributes)
        if replaced := _replaced(output, analysis.name, fingerprint):
            say(f"replaced the earlier /{analysis.name} in {output} (-o keeps both), which had {'; '.join(replaced)}")
        try:
            written = _written(analysis, objective, result, attributes, output)
            if deliver and not result.trouble():
                written += tuple(analysis.write_outputs(result, objective, output, say))
        except OutputError as error:
            return MeasurementRecord(analysis, result, attributes, problem=error)
        if not result.trouble():
            snapshot.unlink(missing_ok=True)
    return MeasurementRecord(analysis, result, attributes, written)


def _replaced(output: Path, name: str, fingerprint: Fingerprint) -> list[str]:
    """In what the stored result of this analysis, which is about to be replaced, differs; empty if there is none."""
    stored = read_results(output).get(name) if output.exists() else None
    parts = str(stored.attributes.get("fingerprint_parts", "")) if stored else ""
    try:
        earlier = Fingerprint.from_json(parts)
    except ValueError:
        return []
    return [
        line.partition(": ")[0] + line.partition(" here,")[2].removesuffix(" there")
        for line in fingerprint.differences(earlier)
    ]


def _written(
    analysis: Analysis, objective: Objective, result: Any, attributes: Mapping[str, Any], output: Path
) -> tuple[Path, ...]:
    """Writes the result and its sidecars, and returns their paths."""
    write_results(output, analysis.name, result, attributes, history=" ".join(["landscape", *sys.argv[1:]]))
    written = [output]
    for suffix, arrays in analysis.sidecars(result, objective).items():
        sidecar = paths.beside(output, suffix)
        about = {"fingerprint": str(attributes["fingerprint"]), "analysis": analysis.name}
        save_arrays(sidecar, arrays, about)
        written.append(sidecar)
    return tuple(written)


def measurement_title(analysis: str, attributes: Mapping[str, Any]) -> str:
    """The checkpoint's name with what was measured of it: `a.pt, ggn, params 0.*`, or `a.pt, element-wise l2`."""
    from landscape.analyses import ANALYSES

    kinds = {kind.name: kind for kind in ANALYSES}
    options, conditions = (json.loads(str(attributes.get(key, "{}"))) for key in ("options", "conditions"))
    parts = fields.title_parts(kinds[analysis], options) if analysis in kinds else []
    name = Path(str(attributes["checkpoint"])).name or "model"
    return ", ".join([name, *parts, *fields.title_parts(Conditions, conditions)])


def has_readable_attributes(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes that hold JSON can be read."""
    try:
        return all(json.loads(str(attributes[key])) is not None for key in (*JSON_ATTRIBUTES, "fingerprint_parts"))
    except (ValueError, KeyError):
        return False


def results_of_same_matrix(groups: Mapping[str, StoredResult], name: str) -> dict[str, Any]:
    """The other results of a file that are of the same matrix as `name`: same weights, data, loss and operator."""
    from landscape.analyses import ANALYSES

    def matrix(group: StoredResult) -> dict[str, Any]:
        parts = json.loads(str(group.attributes.get("fingerprint_parts", "{}")))
        drawn = ("seed", "labels") if parts.get("operator") == "fisher" else ()
        return {key: parts.get(key) for key in (*SAME_MATRIX, *drawn)}

    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    mine = matrix(groups[name])
    others = {
        other: group
        for other, group in groups.items()
        if other in kinds and other != name and has_readable_attributes(group.attributes)
    }
    return {other: to_record(kinds[other], group) for other, group in others.items() if matrix(group) == mine}


def plain_values(result: Result) -> dict[str, Any]:
    """The described fields of a result as numbers, lists and None."""
    import numpy as np

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(part) for part in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    names = [f.name for kind in (Array, Scalar) for f in described_fields(type(result), kind)]
    return {name: number(np.asarray(value).tolist()) for name in names if (value := getattr(result, name)) is not None}


def _drive(
    analysis: Analysis,
    objective: Objective,
    snapshot: Path | None,
    resume: tuple[State, float] | None,
    fingerprint: Fingerprint,
    report: ProgressCallback,
    stop: StopSignals,
) -> tuple[Result, float]:
    """The result and the seconds spent on it, earlier runs included; saves snapshots on the way."""
    began = time.monotonic() - (resume[1] if resume else 0.0)
    saved, cost = time.monotonic(), 0.0

    def save(progress: Progress) -> None:
        nonlocal saved, cost
        if snapshot is None:
            return
        start = time.monotonic()
        about = {
            "fingerprint": fingerprint.to_json(),
            "loss": repr(objective.reference.loss),
            "ways": objective.engine.to_json(),
            "micro_batch": repr(objective.micro_batch),
            "device": str(objective.device),
            "seconds": repr(start - began),
        }
        save_arrays(snapshot, progress.state(), about)
        saved = time.monotonic()
        cost = saved - start

    from landscape.compute.precision import full_precision

    progress: Progress | None = None  # stays None if an earlier run had come to the same limit
    stop.deferring = True
    try:
        steps = analysis.measure(objective, resume[0] if resume else None)
        while True:
            try:
                with full_precision(objective.engine.tf32):
                    progress = next(steps)
            except StopIteration as end:
                result: Result = end.value
                break
            report(progress)
            if stop.requested:
                save(progress)
                raise _interrupted(stop.requested, snapshot)
            if time.monotonic() - saved > max(SNAPSHOT_SHARE * cost, SNAPSHOT_WORTH):
                save(progress)
        if result.trouble() and progress is not None:
            save(progress)
    finally:
        stop.deferring = False
    return result, time.monotonic() - began


def _complete(output: Path, name: str) -> bool:
    """Whether the file holds a conclusive result of this analysis, which an inconclusive one must not replace."""
    if not output.exists():
        return False
    stored = read_results(output).get(name)
    return stored is not None and stored.attributes.get("status") == "complete"


def _interrupted(number: int, snapshot: Path | None) -> Interrupted:
    if snapshot is None:
        return Interrupted(number, "stopped")
    return Interrupted(
        number,
        f"stopped; the work is saved in {snapshot}",
        fix="the same command goes on from there (--restart discards)",
    )


def _resumable(
    snapshot: Path, fingerprint: Fingerprint, objective: Objective, say: Callable[[str], None]
) -> tuple[State, float] | None:
    """The state and seconds of an earlier run of the same fingerprint; UsageError if it was another run."""
    if not snapshot.exists():
        return None
    arrays, about = load_arrays(snapshot)
    if not {"fingerprint", "loss", "seconds", "ways", "micro_batch", "device"} <= about.keys():
        raise OutputError(f"{snapshot} is no snapshot of this version of landscape", fix="--restart discards it")
    differences = fingerprint.differences(Fingerprint.from_json(about["fingerprint"]))
    if not differences:
        objective.resume_settings(about["ways"], int(about["micro_batch"]), about["device"])
    earlier, now = float(about["loss"]), objective.reference.loss
    if not differences and abs(now - earlier) > SAME_LOSS * abs(earlier):
        differences = [f"loss: {now:.8g} here, {earlier:.8g} there (another model of the same weights?)"]
    if differences:
        raise UsageError(
            f"{snapshot} is the unfinished work of another run:\n    " + "\n    ".join(differences),
            fix="--restart discards it; -o FILE keeps it and measures elsewhere",
        )
    say(f"resumed from {snapshot}")
    return arrays, float(about["seconds"])


def _attributes(
    analysis: Analysis, objective: Objective, result: Any, fingerprint: Fingerprint, seconds: float
) -> dict[str, Any]:
    source = objective.source
    return {
        "status": "partial" if result.trouble() else "complete",
        "fingerprint": fingerprint.digest,
        "fingerprint_parts": fingerprint.to_json(),
        "schema": SCHEMA,
        "conditions": json.dumps(dict(source.conditions), sort_keys=True),
        "options": json.dumps(analysis.identity(), sort_keys=True),
        "resolved_from": json.dumps(dict(source.resolved_from), sort_keys=True),
        "environment": json.dumps(environment(), sort_keys=True),
        "notes": json.dumps([*objective.notes, *result.notes]),
        "checkpoint": str(source.path or ""),
        "checkpoint_sha256": source.sha256,
        "data_sha256": objective.batches.sha256,
        "loss_value": objective.reference.loss,
        "mode": objective.mode,
        "seed": getattr(analysis, "seed", 0),
        "device": str(objective.device),
        "dtype": str(objective.dtype).removeprefix("torch."),
        "micro_batch": objective.micro_batch,
        "hvp": json.dumps(list(objective.engine.descriptions())),
        "wall_time_s": seconds,
        "products": getattr(result, "products", 0),
    }
