"""Options of every command that measures: where results go, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.fields import Options, option


@dataclass(frozen=True)
class Writing(Options):
    """Options of all commands that measure."""

    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.landscape.h5 beside it.",
        short="o",
    )
    json: bool = option(False, help="Print one JSON document instead of a table.")
    restart: bool = option(False, help="Discard an interrupted run instead of resuming it.")
    verbose: bool = option(False, help="Also print what the checks of the model, the loss and the data found.")
    dry_run: bool = option(False, help="Print what would be done, its memory and its time, and stop.", typed=True)


@dataclass(frozen=True)
class Output(Writing):
    """Where an analysis' results go, and whether they are drawn."""

    plot: bool = option(True, help="Draw <stem>.<command>.png.")
