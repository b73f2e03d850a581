"""`landscape check`: whether checkpoints are sharper than they were; made for CI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, EXIT_INCONCLUSIVE, LandscapeError, UsageError
from landscape.fields import Option, described_fields, own_first
from landscape.plugins import imports
from landscape_cli import options
from landscape_cli.config import Settings
from landscape_cli.config_tables import CHECK
from landscape_cli.gate import Gate
from landscape_cli.measure import checkpoints, say
from landscape_cli.policies import baseline_file, measurements, rules

if TYPE_CHECKING:
    from landscape_cli.candidates import Source, Sources


def command() -> Callable[..., int]:
    """The function behind `landscape check`: checkpoints, the gate's own flags, and the conditions."""

    def invoke(context: typer.Context, checkpoints: list[Path] | None, **values: Any) -> int:
        settings: Settings = context.obj
        if settings.path:
            imports.append_import_folder(settings.path.parent)
        gate, origins = options.record(Gate, values), options.origins(context)
        typed = not gate.from_ or origins.get("checkpoints") == "a flag"  # results take the place of those in settings
        named = list(checkpoints or []) if typed else []
        return check(named, gate, options.record(Conditions, values), settings, origins)

    return options.shaped(
        invoke,
        options.argument("context", typer.Context),
        options.CHECKPOINTS,
        *(options.parameter(field, "Gate", environment=False) for field in own_first(Gate)),
        *(options.parameter(field, "Conditions") for field in described_fields(Conditions, Option)),
    )


def check(paths: list[Path], gate: Gate, conditions: Conditions, settings: Settings, origins: Mapping[str, str]) -> int:
    """The exit code: 0 if nothing regressed, 1 if something did, 2 if something failed, 3 if it cannot be said."""
    _require_sense(paths, gate)
    chosen = rules(gate, settings)
    stored = [Path(name) for name in gate.from_]
    if gate.list_:
        from landscape_cli import listing

        listing.show(paths, stored, chosen)
        return 0
    from landscape_cli.candidates import Source, Sources

    paths = paths if stored else checkpoints(paths, CHECK)
    files = [*(Source("checkpoint", path) for path in paths), *(Source("results", path) for path in stored)]
    held = baseline_file(gate, settings, Path.cwd())
    held = held.relative_to(Path.cwd()) if held.is_relative_to(Path.cwd()) else held
    sources = Sources(chosen, measurements(chosen, settings), conditions, gate, origins, held, [])
    if gate.dry_run:
        sources.plan(paths)
        return 0
    if gate.calibrate is not None:
        return _calibrated(sources, paths, gate.calibrate)
    return _updated(sources, files) if gate.update else _judged(sources, files)


def _require_sense(paths: list[Path], gate: Gate) -> None:
    """Raises UsageError for flags that contradict each other."""
    modes = {"--update": gate.update, "--calibrate": gate.calibrate is not None, "--list": gate.list_}
    chosen = [flag for flag, given in modes.items() if given]
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


def _judged(sources: Sources, files: list[Source]) -> int:
    """Reports how the candidates compare, and returns the exit code."""
    from landscape.gates import baseline
    from landscape.gates.verdict import judge
    from landscape_cli.candidates import Source, source
    from landscape_cli.reports import Report
    from landscape_cli.sinks import sinks

    gate, chosen = sources.gate, sources.policy
    outlets = sinks([*gate.format, *(["json"] if gate.json else [])])
    against = [source(Path(name)) for name in gate.against] or [Source("baseline", sources.baseline)]
    for one in against:  # before anything is measured
        try:
            if one.kind == "baseline":
                baseline.read_baseline(one.path, chosen.kind)
            elif not one.path.exists():
                raise UsageError(f"there is no file {one.path}", fix="check the path")
        except LandscapeError as error:  # which CI is told as everything else
            sources.failures.append((str(one.path), str(error)))
    candidates, earlier = ([], []) if sources.failures else sources.entries(files, against)
    verdicts = judge(chosen, earlier, candidates, one_for_all=bool(gate.against))
    report = Report(chosen.kind, ", ".join(str(one.path) for one in against), verdicts, sources.failures)
    for outlet in outlets:
        outlet(report)
    return report.code


def _updated(sources: Sources, files: list[Source]) -> int:
    """Writes the baseline unless anything is missing, and returns the exit code."""
    from landscape_cli import tables, update

    update.require_no_ci()
    update.earlier(sources.baseline, sources.policy)  # before anything is measured
    (entries,) = sources.entries(files)
    for name, error in sources.failures:
        say(f"error: {name}: {error}")
    if sources.failures:
        return EXIT_FAILURE
    for name, metric, reason in (found := update.missing(sources.policy, entries)):
        say(f"inconclusive: {metric} of {name}: {reason.why}\n  fix:  {reason.fix}")
    if found:
        return EXIT_INCONCLUSIVE
    path = sources.baseline
    before = update.write(path, sources.policy, entries, keep=bool(sources.gate.metric))
    rows = [(entry, metric, reading.value) for entry in entries for metric, reading in entry.readings.items()]
    numbers = [(e.name, m, f"{before[e.name, m]:.6g}" if (e.name, m) in before else "", f"{v:.6g}") for e, m, v in rows]
    tables.print_grid(("checkpoint", "metric", "baseline", "value"), numbers)
    say(f"wrote {path}; once it is committed, landscape check compares with it")
    return 0


def _calibrated(sources: Sources, paths: list[Path], count: int) -> int:
    from landscape_cli import calibrate

    floors = calibrate.floors(sources, paths, count)
    calibrate.show(floors)
    return EXIT_INCONCLUSIVE if any(floor.trouble for floor in floors) else 0
