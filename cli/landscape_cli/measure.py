"""Measures checkpoints: paths become targets, then objectives, measurements, files, and at last a report.

find_targets -> _load_objective -> execute -> _draw -> _report
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import Analysis
from landscape.compute.interrupts import interruption
from landscape.compute.launched import is_launched
from landscape.compute.machines import Machine, parse_machine
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.compute.out_of_memory import in_words
from landscape.conditions import Conditions
from landscape.errors import EXIT_INCONCLUSIVE, Interrupted, LandscapeError, UsageError
from landscape.storage import paths
from landscape_cli import progress
from landscape_cli.launch import is_one_of_several, is_other_rank, work_in_processes
from landscape_cli.output import Output
from landscape_cli.plans import print_machine_plan, print_plan
from landscape_cli.remedies import lines_of_trouble
from landscape_cli.streams import say, say_error
from landscape_cli.targets import Target, find_targets, look_at_checkpoint, require_checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from landscape.objective import Objective
    from landscape.session import MeasurementRecord


@dataclass(frozen=True)
class Measuring:
    """How every target is measured: the analysis, the conditions and where they came from, and the output options."""

    analysis: Analysis
    conditions: Conditions
    output: Output
    origins: Mapping[str, str]
    labels: Mapping[str, str]  # by the checkpoints' paths


@dataclass(frozen=True)
class Failure:
    """A checkpoint that could not be measured, and the error."""

    checkpoint: Path
    error: LandscapeError


def measure_checkpoints(
    named: Sequence[Path], analysis: Analysis, conditions: Conditions, output: Output, origins: Mapping[str, str]
) -> int:
    """The exit code: 0, or the worst of what went wrong; one checkpoint's failure does not stop the others."""
    checkpoints, analysis = analysis.split_paths(require_checkpoints(named, analysis.name))
    measure = partial(_measure_checkpoints, checkpoints, analysis, conditions, output, origins)
    if output.dry_run or not (output.devices or is_launched()):
        return measure()
    return work_in_processes(measure, output.devices)


def _measure_checkpoints(
    checkpoints: Sequence[Path], analysis: Analysis, conditions: Conditions, output: Output, origins: Mapping[str, str]
) -> int:
    """The exit code of the measurements, printed and drawn by the first of several processes."""
    targets = find_targets(checkpoints, output.output, named=output.label)
    draws = output.draws(len(targets))
    if not draws and output.plot is None and not output.dry_run:
        say(f"no pictures of {len(targets)} checkpoints: --plot draws them")
    labels = {str(target.checkpoint): target.label for target in targets}
    measuring = Measuring(analysis, conditions, replace(output, plot=draws), origins, labels)
    machine = _machine(output, conditions)
    outcomes = (not machine and _wrong_paths(targets, conditions)) or _measure_each(targets, measuring, machine)
    code = _report(measuring, outcomes, several=len(targets) > 1)
    if len(targets) == 1:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                raise outcome.error
    return code


def _wrong_paths(targets: Sequence[Target], conditions: Conditions) -> list[MeasurementRecord | Failure]:
    """The failures if no path leads to a checkpoint, found before torch is loaded; else none."""
    failures: list[Failure] = []
    for target in targets:
        try:
            look_at_checkpoint(target.checkpoint, trust=conditions.trust)
            return []
        except LandscapeError as error:
            failures.append(Failure(target.checkpoint, error))
    for failure in failures if len(targets) > 1 else ():
        say_error(failure.error)
    return [*failures]


def _machine(output: Output, conditions: Conditions) -> Machine | None:
    """The devices that --on names; raises UsageError for a text that names none, and for --on without --dry-run."""
    if output.on is None:
        return None
    machine = parse_machine(output.on, dtype=conditions.dtype, tf32=conditions.tf32)
    if not output.dry_run:
        raise UsageError(f"--on {output.on} plans for other devices, and measures on none", fix="--dry-run beside it")
    return machine


def _measure_each(
    targets: Sequence[Target], measuring: Measuring, machine: Machine | None
) -> list[MeasurementRecord | Failure]:
    """What measuring every target gives, or printing its plan, for this machine or another."""
    require_room_for_libraries()
    from landscape import session

    with session.StopSignals() as stop:
        execute = partial(session.execute, restart=measuring.output.restart, stop=stop, say=say)
        if machine is not None:
            return _attempt_each(targets, partial(_print_machine_plan, measuring, machine))
        if measuring.output.dry_run:
            return _attempt_each(targets, partial(_print_plan, measuring))
        return _attempt_each(targets, partial(_measure, measuring, execute))


def _attempt_each(
    targets: Sequence[Target], work: Callable[[Target], MeasurementRecord | None]
) -> list[MeasurementRecord | Failure]:
    """What the work returns for every target, and the failures; of several targets, a failure is printed at once."""
    outcomes: list[MeasurementRecord | Failure] = []
    for target in targets:
        try:
            if (record := work(target)) is not None:
                outcomes.append(record)
            continue
        except Interrupted:
            raise
        except LandscapeError as error:
            if is_one_of_several() and not error.shared:  # the others are in the middle of this checkpoint
                raise
            failure = Failure(target.checkpoint, error)
        except Exception as error:  # one checkpoint's crash must not lose the others' results
            if len(targets) == 1 or interruption(error) is not None or is_one_of_several():
                raise
            failure = Failure(target.checkpoint, in_words(error))
        outcomes.append(failure)
        if len(targets) > 1:
            say_error(failure.error)
    return outcomes


def _load_objective(measuring: Measuring, target: Target, *, planned: bool = False) -> Objective:
    """The checkpoint with its model, data and loss, examined unless it is for a plan; says where they came from."""
    from landscape.loading import load
    from landscape.storage.write import require_results_file

    require_results_file(target.output)
    folder = target.output.parent
    conditions, origins = measuring.conditions, measuring.origins
    objective = load(target.checkpoint, conditions, origins=origins, folder=folder, planned=planned)
    for note in objective.notes:
        say(f"{target.label}: {note}")
    return objective


def _print_machine_plan(measuring: Measuring, machine: Machine, target: Target) -> None:
    print_machine_plan(target.checkpoint, measuring.analysis, measuring.conditions, machine)


def _print_plan(measuring: Measuring, target: Target) -> None:
    print_plan(target, measuring.analysis, _load_objective(measuring, target, planned=True))


def _measure(measuring: Measuring, execute: Callable[..., MeasurementRecord], target: Target) -> MeasurementRecord:
    """Measures one target, writes the result and draws it; prints the notes and the names of the written files."""
    analysis, name = measuring.analysis, target.label
    objective = _load_objective(measuring, target)
    printed = set(objective.notes)
    with progress.reporter(f"{analysis.name} {name}", progress.forecast(analysis, objective)) as report:
        record = execute(analysis, objective, output=target.output, report=report)
    for note in record.notes:
        if note not in printed:
            say(f"{name}: {note}")
    for finding in record.result.checks if measuring.output.verbose else ():
        say(f"{name}: {finding}")
    written = [*record.written, *(_draw(record, target) if measuring.output.plot else [])]
    if written:
        say(f"wrote {', '.join(str(file) for file in written)}")
    return record


def _draw(record: MeasurementRecord, target: Target) -> list[Path]:
    """Draws a stored result beside its file, if it has a picture."""
    from landscape import figures
    from landscape.session import measurement_title, results_of_same_matrix
    from landscape.storage.read import read_results

    name = record.analysis.name
    if is_other_rank() or not record.written or not figures.drawn(record.result):
        return []
    picture = paths.picture_file(target.output, name)
    figures.save(
        record.result,
        picture,
        heading=measurement_title(name, record.attributes, target.label),
        fingerprint=record.attributes["fingerprint"],
        beside=results_of_same_matrix(read_results(target.output), name),
    )
    return [picture]


def _report(measuring: Measuring, outcomes: Sequence[MeasurementRecord | Failure], *, several: bool) -> int:
    """Prints all results together and what is wrong with them, and returns the exit code."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    records = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    if measuring.output.json and not measuring.output.dry_run:
        _print_json(measuring, records, failures, several=several)
    elif records:
        _print_tables(measuring, records)
    codes = [code for record in records for code in _say_problems(record)]
    return max([*codes, *(failure.error.exit_code for failure in failures)], default=0)


def _print_json(
    measuring: Measuring, records: Sequence[MeasurementRecord], failures: Sequence[Failure], *, several: bool
) -> None:
    """One document, or of several checkpoints a list of documents, with the labels of all if one is named."""
    documents = [record.document() for record in records]
    for document in documents if measuring.output.label else ():
        document["label"] = _label(measuring, document["checkpoint"]["path"])
    documents += [
        {
            "analysis": measuring.analysis.name,
            "status": "error",
            "checkpoint": {"path": str(failure.checkpoint)},
            "error": str(failure.error),
        }
        for failure in failures
    ]
    print(json.dumps(documents if several else documents[0], allow_nan=False))


def _print_tables(measuring: Measuring, records: Sequence[MeasurementRecord]) -> None:
    from landscape.session import measurement_title
    from landscape_cli import result_tables

    labels = [_label(measuring, str(record.attributes["checkpoint"])) for record in records]
    named = zip(records, labels, strict=True)
    titles = [measurement_title(measuring.analysis.name, record.attributes, label) for record, label in named]
    seconds = [record.attributes["wall_time_s"] for record in records]
    rows = list(zip(titles, [record.result for record in records], seconds, strict=True))
    result_tables.print_measurements(rows, verbose=measuring.output.verbose)


def _label(measuring: Measuring, checkpoint: str) -> str:
    """What a checkpoint is called."""
    return measuring.labels.get(checkpoint) or Path(checkpoint).name


def _say_problems(record: MeasurementRecord) -> list[int]:
    """Prints why a result could not be written or is inconclusive; returns the exit codes of these problems."""
    codes = []
    if record.problem is not None:
        say_error(record.problem)
        codes.append(record.problem.exit_code)
    if trouble := record.result.trouble():
        for line in lines_of_trouble(trouble, record):
            say(line)
        codes.append(EXIT_INCONCLUSIVE)
    return codes
