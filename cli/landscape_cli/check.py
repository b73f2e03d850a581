"""`landscape check`: whether checkpoints are sharper than they were; made for CI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from landscape.compute.memory_limits import require_room_for_libraries
from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, EXIT_INCONCLUSIVE, LandscapeError, UsageError
from landscape.fields import Option, described_fields, own_first
from landscape.plugins import imports
from landscape.storage.paths import from_here
from landscape_cli.config import Settings
from landscape_cli.gate import CHECK, Gate, baseline_file, gate_analyses, gate_policy
from landscape_cli.launch import require_one_process
from landscape_cli.options import CHECKPOINTS_ARGUMENT, CONTEXT, build_record, parameters, value_origins, with_signature
from landscape_cli.streams import say, say_error
from landscape_cli.targets import require_checkpoints

if TYPE_CHECKING:
    from landscape_cli.candidates import Source, Sources


def check_command() -> Callable[..., int]:
    """The function behind `landscape check`: checkpoints, the gate's own flags, and the conditions."""

    def invoke(context: typer.Context, checkpoints: list[Path] | None, **values: Any) -> int:
        """Runs the gate on the checkpoints that are named; returns the exit code."""
        settings: Settings = context.obj
        if settings.path:
            imports.append_import_folder(settings.path.parent)
        gate, origins = build_record(Gate, values), value_origins(context)
        typed = not gate.from_ or origins.get("checkpoints") == "a flag"  # results replace the settings' checkpoints
        named = list(checkpoints or []) if typed else []
        return check(named, gate, build_record(Conditions, values), settings, origins)

    return with_signature(
        invoke,
        CONTEXT,
        CHECKPOINTS_ARGUMENT,
        *parameters(own_first(Gate), "Gate", environment=False),
        *parameters(described_fields(Conditions, Option), "Conditions"),
    )


def check(paths: list[Path], gate: Gate, conditions: Conditions, settings: Settings, origins: Mapping[str, str]) -> int:
    """The exit code: 0 if nothing regressed, 1 if something did, 2 after an error, 3 if inconclusive."""
    _refuse_contradictions(paths, gate)
    require_one_process(CHECK)
    policy = gate_policy(gate, settings)
    results = [Path(name) for name in gate.from_]
    if gate.list_:
        from landscape_cli import listing

        listing.print_metrics(paths, results, policy)
        return 0
    if paths:
        require_room_for_libraries()
    from landscape_cli.candidates import Source, Sources

    paths = paths if results else require_checkpoints(paths, CHECK)
    candidates = [*(Source("checkpoint", path) for path in paths), *(Source("results", path) for path in results)]
    baseline = from_here(baseline_file(gate, settings, Path.cwd()))
    sources = Sources(policy, gate_analyses(policy, settings), conditions, gate, origins, baseline, [])
    if gate.dry_run:
        sources.print_plans(paths)
        return 0
    if gate.calibrate is not None:
        return _calibrate(sources, paths, gate.calibrate)
    return _update(sources, candidates) if gate.update else _compare(sources, candidates)


def _refuse_contradictions(paths: list[Path], gate: Gate) -> None:
    """Raises UsageError for flags that contradict each other."""
    modes = {"--update": gate.update, "--calibrate": gate.calibrate is not None, "--list": gate.list_}
    chosen = [mode for mode, wanted in modes.items() if wanted]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are two commands", fix="one after the other")
    if chosen and gate.against:
        raise UsageError(f"{chosen[0]} compares nothing, and --against is what to compare with", fix="one of them")
    if gate.calibrate is not None and gate.from_:
        raise UsageError("--calibrate measures, and --from reads", fix="name the checkpoints themselves")
    if (chosen or gate.dry_run) and gate.json:
        raise UsageError(f"{(*chosen, '--dry-run')[0]} prints a table and no report", fix="without --json")
    if paths and gate.from_:
        raise UsageError("checkpoints and --from are both candidates", fix="one of them; --from is repeated")


def _compare(sources: Sources, candidates: list[Source]) -> int:
    """Compares the candidates with the baseline, reports the verdicts, and returns the exit code."""
    from landscape.gates.reference import BASELINE, reference_of_files
    from landscape.gates.verdict import judge
    from landscape_cli.candidates import Source, recognize_source
    from landscape_cli.reports import Report
    from landscape_cli.sinks import find_sinks

    gate, policy = sources.gate, sources.policy
    sinks = find_sinks([*gate.format, *(["json"] if gate.json else [])])
    against = [recognize_source(Path(name)) for name in gate.against] or [Source("baseline", sources.baseline)]
    _check_readable(sources, against)  # before anything is measured
    entries, earlier = ([], []) if sources.failures else sources.entries(candidates, against)
    files = [source.path.name for source in against]
    reference = BASELINE if any(source.kind == "baseline" for source in against) else reference_of_files(files)
    verdicts = judge(policy, earlier, entries, one_for_all=bool(gate.against), reference=reference)
    report = Report(policy.kind, ", ".join(str(source.path) for source in against), verdicts, sources.failures)
    for sink in sinks:
        sink(report)
    return report.code


def _check_readable(sources: Sources, against: list[Source]) -> None:
    """Adds baselines that cannot be read, and files that are missing, to the failures, which the report shows."""
    from landscape.gates.baseline import read_baseline

    for source in against:
        try:
            if source.kind == "baseline":
                read_baseline(source.path, sources.policy.kind)
            elif not source.path.exists():
                raise UsageError(f"there is no file {source.path}", fix="check the path")
        except LandscapeError as error:
            sources.failures.append((str(source.path), str(error)))


def _update(sources: Sources, candidates: list[Source]) -> int:
    """Writes the candidates to the baseline unless a number is missing, and returns the exit code."""
    from landscape_cli.update import missing_numbers, print_update, read_for_update, require_no_ci, update_baseline

    require_no_ci()
    read_for_update(sources.baseline, sources.policy)  # before anything is measured
    (entries,) = sources.entries(candidates)
    for name, error in sources.failures:
        say_error(error, name)
    if sources.failures:
        return EXIT_FAILURE
    missing = missing_numbers(sources.policy, entries)
    for name, metric, reason in missing:
        say(f"inconclusive: {metric} of {name}: {reason.why}", f"  fix:  {reason.fix}")
    if missing:
        return EXIT_INCONCLUSIVE
    before = update_baseline(sources.baseline, sources.policy, entries, keep=bool(sources.gate.metric))
    print_update(entries, before)
    say(f"wrote {sources.baseline}; once it is committed, landscape check compares with it")
    return 0


def _calibrate(sources: Sources, paths: list[Path], count: int) -> int:
    """Prints the smallest change that every metric shows; returns 3 if one of them has no number."""
    from landscape_cli import calibrate

    floors = calibrate.noise_floors(sources, paths, count)
    calibrate.print_floors(floors)
    return EXIT_INCONCLUSIVE if any(floor.trouble for floor in floors) else 0
