"""`landscape check --calibrate N`: how small a change can be seen on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.gates import calibration
from landscape.gates.calibration import NoiseFloor
from landscape.gates.entry import Entry
from landscape_cli import tables
from landscape_cli.candidates import Sources
from landscape_cli.columns import Column

NAMED = (Column("checkpoint"), Column("metric"), Column.of_numbers("value"), Column.of_numbers("spread"))
ALLOWED = (Column.of_numbers("allowed"), Column(""))
SEED_COLUMNS = (*NAMED, Column.of_numbers("same seed"), Column.of_numbers("other seed"), *ALLOWED)
TRAINING_COLUMNS = (*NAMED, Column.of_numbers("found"), *ALLOWED)


def noise_floors(sources: Sources, paths: Sequence[Path], count: int) -> list[NoiseFloor]:
    """The noise of every metric: over `count` seeds of the method, or between checkpoints that were retrained."""
    from landscape.gates.measuring import measure_entry
    from landscape.session import StopSignals

    def entry(path: Path, seed: int = 0, **changes: Any) -> Entry:
        """The measured metrics of a checkpoint, with another seed or other conditions."""
        setup = sources.measurement_setup(seed=seed)
        return measure_entry(path.name, lambda: sources.load(path, **changes), sources.policy, setup)

    floors: list[NoiseFloor] = []
    with StopSignals():  # a signal ends the command with its own exit code
        if sources.policy.kind == "retrained":
            return calibration.training_noise(sources.policy, [entry(path) for path in paths])
        for path in paths:
            half = max(1, -(-sources.load(path).micro_batch // 2))
            seeds = [entry(path, seed) for seed in range(count)]
            floors += calibration.seed_noise(sources.policy, seeds, entry(path, micro_batch=half))
    return floors


def print_floors(floors: Sequence[NoiseFloor]) -> None:
    """Prints a table of noise floors, over seeds of the method or between retrained checkpoints."""
    over_seeds = any(floor.between_runs is None for floor in floors)
    rows = [_row(floor, over_seeds=over_seeds) for floor in floors]
    tables.print_grid(SEED_COLUMNS if over_seeds else TRAINING_COLUMNS, rows)


def _row(floor: NoiseFloor, *, over_seeds: bool) -> list[str]:
    noise = [floor.same_draws, floor.other_draws] if over_seeds else [floor.between_runs]
    shares = [_percentage(value) for value in (floor.spread, *noise, floor.tolerance)]
    words = floor.trouble or ("" if floor.quiet or not over_seeds else "noise hides changes that are not allowed")
    return [floor.checkpoint, floor.metric, f"{floor.value:.6g}", *shares, words]


def _percentage(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.2g} %"
