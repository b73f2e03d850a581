"""Tables and sentences on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from landscape.errors import clean
from landscape_cli.columns import Column

NAME_WIDTH = 20  # characters of a line of names that are folded
CAPTION_WIDTH = 100  # characters: longer lines are hard to read
PLAIN_WIDTH = 400  # characters, if stdout is no terminal; no name is cut then


class Screen(Console):
    """A console that raises BrokenPipeError after its reader has gone, instead of leaving with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Raises BrokenPipeError, which rich calls this for."""
        raise BrokenPipeError


def console() -> Console:
    """Stdout; if it is no terminal, so wide that a pipe does not fold the table."""
    screen = Screen()
    return screen if screen.is_terminal else Screen(width=PLAIN_WIDTH)


def print_line(sentence: str) -> None:
    """Prints a sentence about the table above it."""
    console().print(safe(sentence), soft_wrap=True, highlight=False)


def print_rows(title: str, rows: Mapping[str, str]) -> None:
    """Prints texts beside their names."""
    table = Table(title=safe(title), box=box.SIMPLE, show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(safe(name), safe(value))
    console().print(table)


def print_grid(columns: Sequence[Column], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Prints cells in columns; nothing is cut."""
    table = Table(box=box.SIMPLE_HEAD, title=safe(title) or None, title_justify="left")
    for column in columns:
        table.add_column(column.header, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(safe, row))
    screen = console()
    needed = table_width(screen, table)
    (screen if needed <= screen.width else Screen(width=needed, force_terminal=screen.is_terminal)).print(table)


def plain_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text for a file, whose columns are as wide as their longest cells."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def print_tensors(tensors: Mapping[str, tuple[tuple[int, ...], str]], limit: int | None) -> None:
    """Prints names, shapes and dtypes of the first `limit` tensors, and how many more there are."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", justify="right")
    table.add_column("dtype")
    for name, (shape, dtype) in list(tensors.items())[:limit]:
        table.add_row(safe(name), " x ".join(map(str, shape)) or "scalar", safe(dtype))
    if limit is not None and len(tensors) > limit:
        table.add_row(f"and {len(tensors) - limit:,} more (--all)", "", "")
    console().print(table)


def print_table(screen: Console, table: Table, caption: Sequence[str]) -> None:
    """Prints a table, if it has a row, and its caption; where folding names does not do, lines are wrapped."""
    if not table.row_count:
        return
    needed = table_width(screen, table)
    (screen if fits(screen, table) else Screen(width=needed, force_terminal=screen.is_terminal)).print(table)
    for line in wrap("; ".join(caption), min(screen.width, CAPTION_WIDTH) - 2):
        screen.print(f"  {safe(line)}", soft_wrap=True, highlight=False)


def fits(screen: Console, table: Table) -> bool:
    """Whether a table fits the screen, with its names in several lines if they are long."""
    widths = [max(map(cell_len, map(str, (column.header, *column.cells)))) for column in table.columns]
    pairs = zip(widths, table.columns, strict=True)
    folded = [max(width - NAME_WIDTH, 0) for width, column in pairs if column.overflow == "fold"]
    return table_width(screen, table) - sum(folded) <= screen.width


def table_width(screen: Console, table: Table) -> int:
    """The characters that a table takes if nothing of it is cut or folded."""
    return Measurement.get(screen, screen.options.update(max_width=PLAIN_WIDTH), table).maximum


def safe(text: str) -> str:
    """The text with markup and control characters escaped."""
    return escape(clean(text))
