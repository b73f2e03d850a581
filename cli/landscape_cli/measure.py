"""Measures checkpoints one after another: load, run, write, draw, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape.errors import EXIT_INCONCLUSIVE, Interrupted, LandscapeError, UsageError, clean, listing
from landscape.storage import paths
from landscape_cli import progress
from landscape_cli.output import Output

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.session import MeasurementRecord, StopSignals

Failure = tuple[Path, LandscapeError]


def measure(
    named: list[Path], analysis: Analysis, conditions: Conditions, output: Output, origins: Mapping[str, str]
) -> int:
    """The exit code: 0, or the worst of what went wrong; one checkpoint's failure does not stop the others."""
    measured, analysis = analysis.split_paths(checkpoints(named, analysis.name))
    done, failed = _attempt_all(measured, analysis, conditions, output, origins)
    _print(done, failed, analysis, output, several=len(measured) > 1)
    if failed and len(measured) == 1:
        raise failed[0][1]
    return _exit_code(done, failed, analysis)


def checkpoints(named: list[Path], command: str) -> list[Path]:
    """The checkpoints that are named; raises UsageError if there are none."""
    if not named:
        raise UsageError(
            "no checkpoint is named",
            fix=f'landscape {command} CKPT, or a line  checkpoint = "CKPT"  in landscape.toml',
        )
    if stray := [str(path) for path in named if not path.exists() and _is_number(path)]:
        raise UsageError(
            f"{stray[0]} is taken for a checkpoint, and there is none", fix="several numbers are joined: --rho 0.1,0.2"
        )
    return [path if path.name.strip(".") else path.resolve() for path in named]  # the working directory has a name too


def _is_number(path: Path) -> bool:
    try:
        float(str(path))
    except ValueError:
        return False
    return True


def _attempt_all(
    measured: list[Path], analysis: Analysis, conditions: Conditions, output: Output, origins: Mapping[str, str]
) -> tuple[list[MeasurementRecord], list[Failure]]:
    """Every checkpoint's measurement, and the errors of those that have none."""
    from landscape.session import StopSignals

    done: list[MeasurementRecord] = []
    failed: list[Failure] = []
    with StopSignals() as stop:
        for path, target in zip(measured, outputs(measured, output.output), strict=True):
            try:
                if one := _measure_one(path, target, analysis, conditions, output, origins, stop):
                    done.append(one)
                continue
            except Interrupted:
                raise
            except LandscapeError as error:
                failed.append((path, error))
            except Exception as error:  # one checkpoint's crash must not lose the others' results
                if len(measured) == 1:
                    raise
                failed.append((path, LandscapeError(f"internal error: {type(error).__name__}: {error}")))
            if len(measured) > 1:
                say(f"error: {failed[-1][1]}")
    return done, failed


def _exit_code(done: list[MeasurementRecord], failed: list[Failure], analysis: Analysis) -> int:
    """The worst of what went wrong, after saying what has not been said yet."""
    codes = [error.exit_code for _, error in failed]
    for one in done:
        if one.problem is not None:
            say(f"error: {one.problem}")
            codes.append(one.problem.exit_code)
        if trouble := one.result.trouble():
            say(f"inconclusive: {trouble}; what was done is kept beside the result, in its .{analysis.name}.partial")
            say(f"  fix:  {trouble.fix}")
            codes.append(EXIT_INCONCLUSIVE)
    return max(codes, default=0)


def outputs(measured: list[Path], named: str | None, kind: str = "") -> list[Path]:
    """A results file for each checkpoint; raises UsageError if two checkpoints would share one.

    `kind` stands before the suffix of files that are not named: `ckpt.check.landscape.h5`.
    """
    if named and Path(named).suffix in paths.CHECKPOINTS:  # a slip of the hand must not replace one
        fix = f"-o {Path(named).stem}{paths.RESULTS}"
        raise UsageError(f"-o {named} would hold results, not a checkpoint", fix=fix)
    targets = [paths.results_file(path, kind) for path in measured]
    if named is not None and (Path(named).is_dir() or named.endswith("/")):
        Path(named).mkdir(parents=True, exist_ok=True)
        targets = [Path(named) / target.name for target in targets]
    elif named is not None:
        targets = [Path(named)] * len(measured)
    shared = sorted({str(target) for target in targets if targets.count(target) > 1})
    if shared:
        raise UsageError(
            f"several checkpoints would be written to {listing(shared)}",
            fix=f"a folder for all: -o {named}/" if named else "measure them one by one with -o",
        )
    return targets


def say(line: str) -> None:
    """A line for the reader of the terminal, never part of the answer: one who has gone does not stop the work."""
    with suppress(OSError):
        print(clean(line), file=sys.stderr, flush=True)


def _measure_one(
    path: Path,
    target: Path,
    analysis: Analysis,
    conditions: Conditions,
    output: Output,
    origins: Mapping[str, str],
    stop: StopSignals,
) -> MeasurementRecord | None:
    from landscape import figures, session
    from landscape.loading import load
    from landscape.storage.read import read_results
    from landscape.storage.write import require_results_file

    require_results_file(target)
    objective = load(path, conditions, origins=origins)
    for note in objective.notes:
        say(f"{path.name}: {note}")
    if output.dry_run:
        print_plan(path, target, analysis, objective)
        return None
    with progress.reporter(f"{analysis.name} {path.name}") as report:
        measurement = session.execute(
            analysis, objective, output=target, restart=output.restart, report=report, stop=stop, say=say
        )
    for note in [*objective.strategies.notes, *measurement.result.notes]:
        say(f"{path.name}: {note}")
    written = list(measurement.written)
    if output.plot and written and figures.drawn(measurement.result):
        picture = paths.picture_file(target, analysis.name)
        figures.save_figure(
            measurement.result,
            picture,
            title=session.measurement_title(analysis.name, measurement.attributes),
            fingerprint=measurement.attributes["fingerprint"],
            beside=session.results_of_same_matrix(read_results(target), analysis.name),
        )
        written.append(picture)
    if written:
        say(f"wrote {', '.join(str(file) for file in written)}")
    return measurement


def print_plan(path: Path, target: Path, analysis: Analysis, objective: Objective) -> None:
    """What a measurement would do, take and write."""
    plan = analysis.plan(objective)
    rows = {
        "parameters": f"{objective.space.size:,}",
        "samples": f"{objective.batches.samples:,}",
        "micro-batch": f"{objective.micro_batch:,} samples",
        **plan.facts,
        "memory": f"{plan.bytes / 1e6:,.1f} MB beside the model and the data",
        **({"products": f"about {plan.products}"} if plan.products else {}),
        "time": f"about {plan.seconds:.3g} s",
        "output": str(target),
    }
    from landscape_cli import tables

    tables.print_rows(f"{analysis.name} {path.name}: plan", rows)


def _print(
    done: list[MeasurementRecord],
    failed: list[Failure],
    analysis: Analysis,
    output: Output,
    *,
    several: bool,
) -> None:
    if output.json and not output.dry_run:
        documents = [one.document() for one in done]
        documents += [
            {"analysis": analysis.name, "status": "error", "checkpoint": {"path": str(path)}, "error": str(error)}
            for path, error in failed
        ]
        print(json.dumps(documents if several else documents[0], allow_nan=False))
    elif done:
        from landscape.session import measurement_title
        from landscape_cli import tables

        name = analysis.name
        tables.print_measurements(
            [(measurement_title(name, one.attributes), one.result, one.attributes["wall_time_s"]) for one in done]
        )
