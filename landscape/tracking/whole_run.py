"""`landscape.track`: the history of a run from its folder of checkpoints."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape import checkpoints
from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape.errors import LandscapeError, UsageError, listing
from landscape.evaluation.other_checkpoints import checkpoints_in
from landscape.history import History
from landscape.history.edge import EdgeOfStability
from landscape.loading.other_checkpoint import CheckpointLoader
from landscape.session import as_analysis
from landscape.storage.lock import hold_lock
from landscape.storage.paths import CHECKPOINTS, common_folder
from landscape.tracking.series import check_one_run
from landscape.tracking.steps import Steps
from landscape.tracking.tracker import Tracker


def track(
    run: str | Path | Sequence[str | Path],
    analyses: Sequence[Analysis | str] = ("eig",),
    *,
    output: str | Path | None = None,
    every: int = 1,
    step_from: str = "auto",
    learning_rate: float | str | Path | None = None,
    momentum: float | None = None,
    restart: bool = False,
    **conditions: Any,
) -> History:
    """The history of a run: its checkpoints measured in the order of their steps.

    `run` is a folder of checkpoints, or their paths; every `every`-th is measured. `conditions` are those of
    `landscape.load`. With `output` the history is kept in that file, and checkpoints that it holds are not measured
    again unless `restart`. `learning_rate` adds the edge of stability, `EdgeOfStability.of` says how. A checkpoint that
    cannot be measured has a trouble, and NaN, in the history. Raises UsageError for a run without checkpoints, for
    checkpoints of several runs, and for an output that was measured otherwise.

    >>> import landscape
    >>> history = landscape.track(["digits-mlp.pt"], [landscape.Eig(k=2)], limit=100)
    >>> history["eig.eigenvalues"].shape
    (1, 2)
    """
    paths = checkpoints_of(run)[::every]
    chosen = tuple(as_analysis(analysis) for analysis in analyses)
    edge = EdgeOfStability.of_run(chosen, learning_rate, momentum)
    folder = common_folder(paths)
    loader = CheckpointLoader(Conditions(**conditions), folder=folder)
    named = str(run) if isinstance(run, str | Path) else os.path.relpath(folder)
    tracker = Tracker(chosen, loader, named, Path(output) if output else None, edge)
    steps = Steps(paths, step_from)
    if tracker.output is None:
        measure_each(tracker, steps, paths, folder)
        return tracker.history
    with hold_lock(tracker.output):
        if not restart:
            tracker.resume()
        measure_each(tracker, steps, paths, folder)
    return tracker.history


def measure_each(tracker: Tracker, steps: Steps, paths: Sequence[Path], folder: Path) -> None:
    """Adds the checkpoints that the history does not hold, in the order of their steps, and saves it at the end.

    Raises UsageError for the names of several runs, unless the source of steps was chosen, and for a history that was
    measured otherwise.
    """
    names = dict.fromkeys([*tracker.history.checkpoints, *(name_in(folder, path) for path in paths)])
    if note := check_one_run(names, refuse=not steps.is_chosen):
        tracker.note(note)
    try:
        named = [(step, path, name_in(folder, path)) for step, path in sorted((steps.of(path), path) for path in paths)]
        held = [(name, path) for _, path, name in named if tracker.holds(name, path)]
        tracker.begin(folder, held)
        for step, path, name in named:
            if (name, path) not in held:
                tracker.add(path, step, name)
    finally:
        tracker.save()


def checkpoints_of(run: str | Path | Sequence[str | Path]) -> list[Path]:
    """The checkpoints of a run: those in its folder, or the paths themselves."""
    if isinstance(run, str | Path):
        if not Path(run).is_dir():
            raise UsageError(f"{run} is not a folder", fix="the folder of a run, or a list of its checkpoints")
        found = _checkpoints_in(Path(run))
        if not found:
            raise UsageError(f"{run} holds no checkpoint", fix=f"files that end in {', '.join(CHECKPOINTS)}")
        return found
    if not run:
        raise UsageError("no checkpoint is named", fix="the folder of a run, or its checkpoints")
    require_files(run)
    return [Path(path) for path in run]


def require_files(named: Sequence[str | Path]) -> None:
    """Raises UsageError for paths where nothing is: a mistyped name is no checkpoint that cannot be measured."""
    if missing := [str(path) for path in named if not Path(path).exists()]:
        raise UsageError(f"there is no {listing(missing)}", fix="check the path")


def _checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, in natural order.

    A file that is no readable checkpoint is one if its name is that of a readable one but for the numbers: it was cut
    short. Others, such as an optimizer's state, are left out.
    """
    entries = [Path(name) for name in checkpoints_in(str(folder)).checkpoints]
    readable = {path for path in entries if _is_readable(path)}
    folders = {path for path in readable if path.is_dir()}
    if folders and (folder / "config.json").exists():  # the last model of a run of Hugging Face's lies beside its steps
        return [path for path in entries if path in folders]
    patterns = {_without_numbers(path) for path in readable}
    return [path for path in entries if path in readable or _without_numbers(path) in patterns]


def _is_readable(path: Path) -> bool:
    """Whether the description of a checkpoint can be read."""
    try:
        checkpoints.describe(path)
        return True
    except LandscapeError:
        return False


def _without_numbers(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name)


def name_in(folder: Path, path: Path) -> str:
    """What a checkpoint is called in the history of its run: its path from the run's folder."""
    return path.absolute().relative_to(folder.absolute()).as_posix()
