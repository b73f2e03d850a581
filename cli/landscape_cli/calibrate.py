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

SAME = ("checkpoint", "metric", "value", "spread", "same seed", "other seed", "allowed", "")
BETWEEN = ("checkpoint", "metric", "value", "spread", "found", "allowed", "")


def floors(sources: Sources, paths: Sequence[Path], count: int) -> list[NoiseFloor]:
    """The noise of every metric: over `count` seeds of the method, or between checkpoints that were retrained."""
    from landscape.gates.measuring import measure_entry
    from landscape.session import StopSignals

    def entry(path: Path, seed: int = 0, **changes: Any) -> Entry:
        work = sources.work(seed=seed)
        return measure_entry(path.name, lambda: sources.load(path, **changes), sources.policy, work)

    found: list[NoiseFloor] = []
    with StopSignals():  # a signal ends it with its own exit code
        if sources.policy.kind == "retrained":
            return calibration.training_noise(sources.policy, [entry(path) for path in paths])
        for path in paths:
            half = max(1, -(-sources.load(path).micro_batch // 2))
            seeds = [entry(path, seed) for seed in range(count)]
            found += calibration.seed_noise(sources.policy, seeds, entry(path, micro_batch=half))
    return found


def show(found: Sequence[NoiseFloor]) -> None:
    """Prints them as a table."""
    several = any(floor.between_runs is None for floor in found)
    tables.print_grid(SAME if several else BETWEEN, [_row(floor, several=several) for floor in found])


def _row(floor: NoiseFloor, *, several: bool) -> list[str]:
    noise = [floor.same_draws, floor.other_draws] if several else [floor.between_runs]
    shares = [_share(value) for value in (floor.spread, *noise, floor.tolerance)]
    words = floor.trouble or ("" if floor.quiet or not several else "noise hides changes that are not allowed")
    return [floor.checkpoint, floor.metric, f"{floor.value:.6g}", *shares, words]


def _share(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.2g} %"
