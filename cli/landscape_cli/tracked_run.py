"""Measures the checkpoints of a run into its history: those that are there, and those that appear."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import ANALYSES, Analysis, Progress
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.conditions import Conditions
from landscape.errors import EXIT_INCONCLUSIVE, Interrupted, UsageError, listing, suggest
from landscape.fields import Option, described_fields
from landscape.storage import paths
from landscape_cli import progress
from landscape_cli.config import Settings
from landscape_cli.launch import require_one_process
from landscape_cli.results import print_history
from landscape_cli.settings_values import record_from_settings
from landscape_cli.streams import say
from landscape_cli.targets import require_checkpoints
from landscape_cli.track import TRACK, Tracking

if TYPE_CHECKING:
    from landscape.tracking import Tracker

INTERVAL = 2.0  # seconds between two looks at the folder; a file that grew in between is not measured yet
Stamp = tuple[int, int]


@dataclass(frozen=True)
class RunFiles:
    """The checkpoints of a run, the folder that holds them, and the file of its history."""

    folder: Path
    checkpoints: list[Path]
    output: Path


def track_checkpoints(
    named: Sequence[Path], tracking: Tracking, conditions: Conditions, settings: Settings, origins: Mapping[str, str]
) -> int:
    """The exit code: 0, or 3 if a checkpoint is missing or inconclusive."""
    require_one_process(TRACK)
    runs = _runs(named, tracking.output)
    if tracking.follow and not (len(named) == 1 and named[0].is_dir()):
        raise UsageError("--follow looks for checkpoints in one folder", fix="landscape track RUN/ --follow")
    analyses = choose_analyses(tracking, settings)
    require_room_for_libraries()
    from landscape.loading.other_checkpoint import CheckpointLoader
    from landscape.session import StopSignals
    from landscape.tracking import EdgeOfStability, Tracker

    trackers = []
    with ExitStack() as stack:
        stop, report = stack.enter_context(StopSignals()), _reporter(stack)
        edge = EdgeOfStability.of_run(analyses, tracking.lr, tracking.momentum)
        for run in runs:
            loader = CheckpointLoader(conditions, origins, run.output.parent)
            tracker = Tracker(analyses, loader, str(run.folder), run.output, edge, tracking.verbose, stop, report, say)
            if tracking.dry_run:
                _print_plans(tracker, run.checkpoints[:: tracking.every])
            else:
                _track(tracker, run, tracking)
                trackers.append(tracker)
    return _conclude(trackers, tracking) if trackers else 0


def _runs(named: Sequence[Path], output: str | None) -> list[RunFiles]:
    """A run for each of several folders of checkpoints; else one run of all that is named."""
    from landscape.tracking.whole_run import checkpoints_of, require_files

    folders = [path for path in named if path.is_dir() and not _is_checkpoint_itself(path)]
    if not folders or len(folders) < len(named):
        found = require_checkpoints(named, TRACK)
        require_files(found)
        folder = paths.from_here(paths.common_folder(found))
        return [RunFiles(folder, found, Path(output) if output else paths.history_file(folder))]
    files = [paths.history_file(folder) for folder in folders]
    if output is not None:
        files = [Path(output)] if len(folders) == 1 else _files_in(output, folders)
    return [RunFiles(folder, checkpoints_of(folder), file) for folder, file in zip(folders, files, strict=True)]


def _is_checkpoint_itself(folder: Path) -> bool:
    """Whether a folder is one checkpoint, such as one of Hugging Face's, without others inside."""
    inside = [path for path in folder.iterdir() if path.is_dir() and require_checkpoints([path], TRACK) == [path]]
    whole = [path for path in inside if any(path.iterdir()) and (path / "config.json").exists()]
    return not whole and require_checkpoints([folder], TRACK) == [folder] and any(folder.iterdir())


def _files_in(output: str, folders: Sequence[Path]) -> list[Path]:
    """The files of several histories in one folder; raises UsageError for a file."""
    if not paths.names_folder(output):
        raise UsageError(f"{len(folders)} runs would be written to {output}", fix=f"a folder for all: -o {output}/")
    labels = paths.short_names([str(folder.resolve()) for folder in folders])
    files = [paths.history_of_several(Path(output), label) for label in labels]
    if shared := sorted({str(file) for file in files if files.count(file) > 1}):
        raise UsageError(
            f"several runs would be written to {listing(shared)}", fix="track them one by one with -o FILE"
        )
    Path(output).mkdir(parents=True, exist_ok=True)
    return files


def _track(tracker: Tracker, run: RunFiles, tracking: Tracking) -> None:
    """Measures one run into its history."""
    from landscape.storage.lock import hold_lock

    with hold_lock(run.output):
        if not tracking.restart:
            tracker.resume()
        try:
            _measure(tracker, tracking, run.checkpoints, run.folder)
        except Interrupted:
            say(f"what is measured is in {run.output}; the same command goes on")
            raise


def choose_analyses(tracking: Tracking, settings: Settings) -> tuple[Analysis, ...]:
    """The analyses that the flags name, with the options of their own tables in the settings."""
    kinds = {kind.name: kind for kind in ANALYSES}
    if unknown := [name for name in tracking.measure if name not in kinds]:
        raise UsageError(
            f"--measure {unknown[0]}: there is no analysis {suggest(unknown[0], kinds)}",
            fix=f"one of {', '.join(kinds)}",
        )
    flags = [name for name in ("trace", "sharpness", "critical") if getattr(tracking, name)]
    names = dict.fromkeys([*flags, *tracking.measure])
    names = dict.fromkeys(["eig", *names]) if tracking.eig or not names else names
    found = []
    for name in names:
        own = {field.name for field in described_fields(kinds[name], Option)}
        table = {key: value for key, value in settings.table(name).items() if key in own}
        if name == "eig":
            table["k"] = tracking.eig or table.get("k", 1)
        if name == "critical" and not str(table.get("update", "")).startswith("towards:"):
            table = {**_same_rate(tracking.lr), **table}
        if tracking.operator and "operator" in own:
            table["operator"] = tracking.operator
        found.append(record_from_settings(kinds[name], table, f"[{name}]"))
    return tuple(found)


def _same_rate(rate: str | None) -> dict[str, float]:
    """The learning rate as an option, if it is one number for all checkpoints."""
    try:
        return {} if rate is None else {"lr": float(rate)}
    except ValueError:  # a file of rates by step
        return {}


def _reporter(stack: ExitStack) -> Callable[[str], Callable[[Progress], None]]:
    """Makes the callback that shows the progress on one checkpoint, in the place of that on the one before."""
    current = stack.enter_context(ExitStack())

    def report(title: str) -> Callable[[Progress], None]:
        """Begins a bar, or a line in a log."""
        current.close()
        return current.enter_context(progress.reporter(title))

    return report


def _measure(tracker: Tracker, tracking: Tracking, found: Sequence[Path], folder: Path) -> None:
    """Measures what is there and, with --follow, what appears, until a signal or the end of patience."""
    from landscape.tracking.steps import Steps
    from landscape.tracking.whole_run import checkpoints_of, measure_each

    steps = Steps(found, tracking.step_from)
    if not tracking.follow:
        measure_each(tracker, steps, found[:: tracking.every], folder)
        return
    stamps: dict[Path, Stamp] = {}
    measured: dict[Path, Stamp] = {}
    last = time.monotonic()
    say(f"waits for checkpoints in {folder}; Ctrl-C ends it")
    while tracking.patience is None or time.monotonic() - last < tracking.patience + INTERVAL:
        now = {path: stamp for path in checkpoints_of(folder)[:: tracking.every] if (stamp := _stamp(path))}
        settled = [path for path, stamp in now.items() if stamps.get(path) == stamp != measured.get(path)]
        if settled:
            measure_each(tracker, steps, settled, folder)
            measured |= {path: now[path] for path in settled}
            last = time.monotonic()
        stamps = now
        time.sleep(INTERVAL)


def _stamp(path: Path) -> Stamp | None:
    """The size and the time of change of a checkpoint; None if it is gone, or is a folder without files."""
    try:
        files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
        stamps = [file.stat() for file in files]
    except OSError:
        return None
    return (sum(each.st_size for each in stamps), max(each.st_mtime_ns for each in stamps)) if stamps else None


def _print_plans(tracker: Tracker, found: Sequence[Path]) -> None:
    """Prints what the measurements of one checkpoint would take."""
    from landscape.loading import load
    from landscape.planning.words import rows_of_measurement
    from landscape_cli import tables

    objective = load(found[0], tracker.loader.conditions, origins=tracker.loader.origins, planned=True)
    for analysis in tracker.analyses:
        rows = {**rows_of_measurement(analysis, objective), "checkpoints": f"{len(found)}, one after the other"}
        tables.print_rows(f"{analysis.name} {found[0].name}: plan", {**rows, "output": str(tracker.output)})


def _conclude(trackers: Sequence[Tracker], tracking: Tracking) -> int:
    """Prints and draws the histories; returns the exit code."""
    histories = [tracker.history for tracker in trackers]
    if tracking.json:
        documents = [history.to_document() for history in histories]
        print(json.dumps(documents if len(documents) > 1 else documents[0], allow_nan=False))
    for tracker in trackers:
        if not tracking.json:
            print_history(tracker.history)
        _draw(tracker, tracking)
        for moment in tracker.history.moments:
            if moment.trouble:
                tracker.note(f"{moment.checkpoint}: {moment.trouble}")
    troubled = any(moment.trouble for history in histories for moment in history.moments)
    return EXIT_INCONCLUSIVE if troubled else 0


def _draw(tracker: Tracker, tracking: Tracking) -> None:
    """Draws a history beside its file, and says what is written."""
    from landscape import figures

    assert tracker.output is not None
    written = [tracker.output]
    if tracking.plot and figures.drawn(tracker.history):
        written.append(paths.picture_of_history(tracker.output))
        title, fingerprint = f"track {tracker.run}", tracker.history.fingerprint
        figures.save(tracker.history, written[-1], heading=title, fingerprint=fingerprint)
    say(f"wrote {', '.join(map(str, written))}")
