"""Results as tables on stdout, derived from the fields of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from landscape.analyses import Result
from landscape.fields import Array, Scalar, described

PLAIN_WIDTH = 120  # columns where stdout is no terminal


class Screen(Console):
    """A console that reports a reader who has gone, instead of leaving with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Stdout; wide enough when it is not a terminal, so that a pipe does not fold the table."""
    screen = Screen()
    return screen if screen.is_terminal else Screen(width=PLAIN_WIDTH)


def print_measurements(rows: list[tuple[str, Result, float]]) -> None:
    """One table for all checkpoints, then a line of numbers for each; rows are names, results and seconds."""
    first = rows[0][1]
    screen = console()
    if first.table:
        screen.print(_table(rows))
    for name, result, seconds in rows:
        numbers = (
            f"{f.name.replace('_', ' ')} {number(getattr(result, f.name))}" for f in described(type(result), Scalar)
        )
        screen.print(f"{escape(name)}: {', '.join(numbers)}, time {seconds:.3g} s", soft_wrap=True, highlight=False)
        for remark in [*filter(None, [result.trouble()]), *result.remarks()]:
            screen.print(f"  {escape(remark)}", soft_wrap=True, highlight=False)


def print_rows(title: str, rows: Mapping[str, str]) -> None:
    """Facts by name."""
    table = Table(title=escape(title), box=box.SIMPLE, show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console().print(table)


def number(value: Any) -> str:
    """Six significant digits for floats, yes or no for flags."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else f"{value:,}"


def _table(rows: list[tuple[str, Result, float]]) -> Table:
    kind = type(rows[0][1])
    columns = [f for f in described(kind, Array) if f.about.dims == (kind.table,)]
    columns = [f for f in columns if any(getattr(result, f.name) is not None for _, result, _ in rows)]
    table = Table(box=box.SIMPLE_HEAD)
    if len(rows) > 1:
        table.add_column("checkpoint")
    table.add_column(kind.table, justify="right")
    for field in columns:
        table.add_column(field.name.replace("_", " "), justify="right")
    for name, result, _ in rows:
        for index in range(len(getattr(result, columns[0].name))):
            cells = [number(getattr(result, field.name)[index]) for field in columns]
            table.add_row(*([escape(name)] if len(rows) > 1 else []), str(index), *cells)
    return table
