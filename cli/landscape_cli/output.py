"""Where results go and how the command behaves."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.fields import option


@dataclass(frozen=True)
class Writing:
    """What every command that measures shares."""

    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.landscape.h5 beside it.",
        short="o",
    )
    json: bool = option(False, help="Print one JSON document instead of a table.")
    restart: bool = option(False, help="Discard an interrupted run instead of going on with it.")
    dry_run: bool = option(False, help="Print what would be done, its memory and its time, and stop.")


@dataclass(frozen=True)
class Output(Writing):
    """Where an analysis' results go, and whether they are drawn."""

    plot: bool = option(True, help="Draw <stem>.<command>.png.")
