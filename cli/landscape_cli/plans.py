"""`--dry-run`: what a measurement would take, here or on other devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape_cli.targets import Target

if TYPE_CHECKING:
    from landscape.compute.machines import Machine
    from landscape.objective import Objective


def print_plan(target: Target, analysis: Analysis, objective: Objective) -> None:
    """Prints the size of the measurement, its memory by part, its time and its output, after one timed gradient."""
    _print(
        target.checkpoint, analysis, {**_words().rows_of_measurement(analysis, objective), "output": str(target.output)}
    )


def print_machine_plan(path: Path, analysis: Analysis, conditions: Conditions, machine: Machine) -> None:
    """Prints the same for other devices, from the model's configuration alone."""
    _print(path, analysis, _words().rows_on_machine(path, analysis, conditions, machine))


def _words() -> Any:
    """The module that puts plans in words; it imports torch."""
    from landscape.planning import words

    return words


def _print(checkpoint: Path, analysis: Analysis, rows: Mapping[str, str]) -> None:
    from landscape_cli import tables

    tables.print_rows(f"{analysis.name} {checkpoint.name}: plan", dict(rows))
