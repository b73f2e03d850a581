"""Measures the checkpoints of a run into its history: those that are there, and those that appear."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import ANALYSES, Analysis, Progress
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.conditions import Conditions
from landscape.errors import EXIT_INCONCLUSIVE, Interrupted, UsageError, suggest
from landscape.fields import Option, described_fields
from landscape.storage import paths
from landscape_cli import progress
from landscape_cli.columns import Column
from landscape_cli.config import Settings
from landscape_cli.launch import require_one_process
from landscape_cli.settings_values import record_from_settings
from landscape_cli.streams import say
from landscape_cli.targets import require_checkpoints
from landscape_cli.track import TRACK, Tracking

if TYPE_CHECKING:
    from landscape.session import StopSignals
    from landscape.tracking import EdgeOfStability, Tracker

INTERVAL = 2.0  # seconds between two looks at the folder; a file that grew in between is not measured yet
Stamp = tuple[int, int]


def track_checkpoints(
    named: Sequence[Path], tracking: Tracking, conditions: Conditions, settings: Settings, origins: Mapping[str, str]
) -> int:
    """The exit code: 0, or 3 if a checkpoint is missing or inconclusive."""
    require_one_process(TRACK)
    found = require_checkpoints(named, TRACK)
    if tracking.follow and not (len(named) == 1 and named[0].is_dir()):
        raise UsageError("--follow looks for checkpoints in one folder", fix="landscape track RUN/ --follow")
    analyses = chosen_analyses(tracking, settings)
    require_room_for_libraries()
    from landscape.loading.other_checkpoint import CheckpointLoader
    from landscape.session import StopSignals
    from landscape.storage.lock import hold_lock
    from landscape.tracking import Tracker
    from landscape.tracking.whole_run import common_folder

    folder = named[0] if len(named) == 1 and named[0].is_dir() else common_folder(found)
    output = Path(tracking.output) if tracking.output else folder / f"{TRACK}{paths.RESULTS}"
    loader = CheckpointLoader(conditions, origins, folder)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        tracker = Tracker(analyses, loader, str(folder), output, _edge(tracking, analyses), stop, _reporter(stack), say)
        if tracking.dry_run:
            return _print_plans(tracker, found[:: tracking.every])
        stack.enter_context(hold_lock(output))
        if not tracking.restart:
            tracker.resume()
        try:
            _measure(tracker, tracking, found, folder, stop)
        finally:
            tracker.save()
    return _conclude(tracker, tracking, output)


def chosen_analyses(tracking: Tracking, settings: Settings) -> tuple[Analysis, ...]:
    """The analyses that the flags name, with the options of their own tables in the settings."""
    kinds = {kind.name: kind for kind in ANALYSES}
    if unknown := [name for name in tracking.measure if name not in kinds]:
        raise UsageError(
            f"--measure {unknown[0]}: there is no analysis {suggest(unknown[0], kinds)}",
            fix=f"one of {', '.join(kinds)}",
        )
    flags = [name for name, wanted in (("trace", tracking.trace), ("sharpness", tracking.sharpness)) if wanted]
    names = dict.fromkeys([*flags, *tracking.measure])
    names = dict.fromkeys(["eig", *names]) if tracking.eig or not names else names
    found = []
    for name in names:
        own = {field.name for field in described_fields(kinds[name], Option)}
        table = {key: value for key, value in settings.table(name).items() if key in own}
        if name == "eig":
            table["k"] = tracking.eig or table.get("k", 1)
        if tracking.operator and "operator" in own:
            table["operator"] = tracking.operator
        found.append(record_from_settings(kinds[name], table, f"[{name}]"))
    return tuple(found)


def _edge(tracking: Tracking, analyses: Sequence[Analysis]) -> EdgeOfStability | None:
    """The edge of stability, if a learning rate is named."""
    from landscape.tracking import EdgeOfStability

    if tracking.lr is None:
        return None
    preconditioned = any(getattr(each, "operator", "") == "preconditioned" for each in analyses)
    return EdgeOfStability.of(tracking.lr, tracking.momentum, preconditioned=preconditioned)


def _reporter(stack: ExitStack) -> Callable[[str], Callable[[Progress], None]]:
    """Makes the callback that shows the progress on one checkpoint, in the place of that on the one before."""
    current = stack.enter_context(ExitStack())

    def report(title: str) -> Callable[[Progress], None]:
        """Begins a bar, or a line in a log."""
        current.close()
        return current.enter_context(progress.reporter(title))

    return report


def _measure(tracker: Tracker, tracking: Tracking, found: Sequence[Path], folder: Path, stop: StopSignals) -> None:
    """Measures what is there and, with --follow, what appears, until a signal or the end of patience."""
    from landscape.tracking.steps import Steps
    from landscape.tracking.whole_run import measure_each

    steps = Steps(found, tracking.step_from)
    if not tracking.follow:
        measure_each(tracker, steps, found[:: tracking.every], folder)
        return
    stamps: dict[Path, Stamp] = {}
    measured: dict[Path, Stamp] = {}
    last = time.monotonic()
    say(f"waits for checkpoints in {folder}; Ctrl-C ends it")
    while tracking.patience is None or time.monotonic() - last < tracking.patience + INTERVAL:
        now = {
            path: stamp for path in require_checkpoints([folder], TRACK)[:: tracking.every] if (stamp := _stamp(path))
        }
        settled = [path for path, stamp in now.items() if stamps.get(path) == stamp != measured.get(path)]
        if settled:
            measure_each(tracker, steps, settled, folder)
            measured |= {path: now[path] for path in settled}
            last = time.monotonic()
        stamps = now
        _wait(stop)


def _stamp(path: Path) -> Stamp | None:
    """The size and the time of change of a checkpoint; None if it is gone, or is a folder without files."""
    try:
        files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
        stamps = [file.stat() for file in files]
    except OSError:
        return None
    return (sum(each.st_size for each in stamps), max(each.st_mtime_ns for each in stamps)) if stamps else None


def _wait(stop: StopSignals) -> None:
    """Waits until the next look; raises Interrupted after a signal."""
    until = time.monotonic() + INTERVAL
    while time.monotonic() < until:
        if stop.requested:
            raise Interrupted(stop.requested, "stopped; every measured checkpoint is in the history")
        time.sleep(0.1)


def _print_plans(tracker: Tracker, found: Sequence[Path]) -> int:
    """Prints what the measurements of one checkpoint would take."""
    from landscape.loading import load
    from landscape.planning.words import rows_of_measurement
    from landscape_cli import tables

    objective = load(found[0], tracker.loader.conditions, origins=tracker.loader.origins, planned=True)
    for analysis in tracker.analyses:
        rows = {**rows_of_measurement(analysis, objective), "checkpoints": f"{len(found)}, one after the other"}
        tables.print_rows(f"{analysis.name} {found[0].name}: plan", {**rows, "output": str(tracker.output)})
    return 0


def _conclude(tracker: Tracker, tracking: Tracking, output: Path) -> int:
    """Prints and draws the history; returns the exit code."""
    from landscape import figures
    from landscape_cli import tables

    history = tracker.history
    if tracking.json:
        print(history.to_json())
    else:
        (first, name, *heads), rows = history.short_table()
        columns = [Column.of_numbers(first), Column(name), *map(Column.of_numbers, heads)]
        tables.print_grid(columns, rows, title=f"track {tracker.run}")
    written = [output]
    if tracking.plot and figures.drawn(history):
        picture = output.with_name(paths.stem(output) + ".png")
        figures.save_figure(history, picture, title=f"track {tracker.run}", fingerprint=history.fingerprint)
        written.append(picture)
    say(f"wrote {', '.join(map(str, written))}")
    troubled = [moment for moment in history.moments if moment.trouble]
    for moment in troubled:
        say(f"{moment.checkpoint}: {moment.trouble}")
    return EXIT_INCONCLUSIVE if troubled else 0
