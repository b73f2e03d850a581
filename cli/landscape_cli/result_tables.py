"""Results on stdout: a table for each dimension, the facts, and what they mean; derived from the results' fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from landscape.analyses import Result
from landscape.analyses.numbers import SHORT, UNDETERMINED, with_error
from landscape.fields import Scalar, described_fields
from landscape_cli.columns import Column
from landscape_cli.result_columns import columns_table, describe_number, description, error_field, label
from landscape_cli.tables import console, fits, print_table, safe

REMARKED_LOSS_GAP = 0.1  # relative: beyond it, curvatures of cross-entropy are not comparable
MIN_COLUMNS = 3  # that are shown in the narrowest terminal


def print_measurements(rows: list[tuple[str, Result, float]], *, verbose: bool = False) -> None:
    """Prints tables of all checkpoints, then a line of numbers for each; rows are titles, results and seconds.

    The line holds the facts that the result names, and with `verbose` all of its numbers.
    """
    screen, kind = console(), type(rows[0][1])
    print_table(screen, _estimates(rows), [])
    wanted = [dimension for dimension in kind.tables if verbose or dimension not in kind.more_tables]
    for dimension in wanted:
        table, cut = _fitting(screen, rows, dimension)
        print_table(screen, table, _caption(kind, dimension, table, cut=cut))
    if hidden := [dimension for dimension in kind.more_tables if dimension not in wanted]:
        screen.print(f"tables by {_and(hidden)}: --verbose", soft_wrap=True, highlight=False)
    if apart := _unlike_losses([result for _, result, _ in rows]):
        screen.print(apart, soft_wrap=True, highlight=False)
    for name, result, seconds in rows:
        screen.print(f"{safe(name)}: {_facts(result, seconds, verbose)}", soft_wrap=True, highlight=False)
        purchase = filter(None, (result.bought(), result.more(seconds)))
        for remark in [*([str(trouble)] if (trouble := result.trouble()) else []), *result.sentences(), *purchase]:
            screen.print(f"  {safe(remark)}", soft_wrap=True, highlight=False)


def _unlike_losses(results: list[Result]) -> str:
    """Why the results are not comparable, if their losses are too far apart; else ""."""
    compared = [result.reference_loss() for result in results if result.follows_loss]
    losses = [loss for loss in compared if math.isfinite(loss)]
    if len(losses) < 2 or max(losses) - min(losses) <= REMARKED_LOSS_GAP * abs(max(losses, key=abs)):
        return ""
    return (
        f"losses from {min(losses):.4g} to {max(losses):.4g}: what is measured here follows the loss, so that these "
        "are not comparable"
    )


def _scalars(result: Result) -> dict[str, Any]:
    every = {f.name: getattr(result, f.name) for f in described_fields(type(result), Scalar)}
    return {name: value for name, value in every.items() if value is not None}


def _facts(result: Result, seconds: float, verbose: bool) -> str:
    """The numbers of a result that are in no table, and its time: those that it names as its facts, or all."""
    others = {name: value for name, value in _scalars(result).items() if name not in _names_of_estimates(result)}
    named = others if verbose or not result.facts else {n: others[n] for n in result.facts if n in others}
    kind = type(result)
    numbers = [f"{label(kind, name)} {describe_number(kind, name, value)}" for name, value in named.items()]
    rest = len(others) - len(named)
    return ", ".join([*numbers, f"time {seconds:.3g} s", *([f"{rest} more with --verbose"] if rest else [])])


def _names_of_estimates(result: Result) -> set[str]:
    """The scalars with an error beside them, and these errors."""
    kind, values = type(result), _scalars(result)
    pairs = {name: error_field(kind, name) for name in values}
    return {word for name, error in pairs.items() if error in values for word in (name, error)}


def _estimates(rows: list[tuple[str, Result, float]]) -> Table:
    """The scalars that have an error, one a line."""
    table = Table(box=box.SIMPLE_HEAD)
    several = [Column("checkpoint")] if len(rows) > 1 else []
    for column in (*several, Column(""), Column("estimate ± standard error")):
        table.add_column(column.header, justify=column.justify, overflow="fold" if column in several else "ellipsis")
    for name, result, _ in rows:
        values, kind = _scalars(result), type(result)
        for base in [n for n in values if error_field(kind, n) in values]:
            error, percent = values[error_field(kind, base)], description(kind, base).percent
            cells = [safe(label(kind, base)), with_error(values[base], error, percent=percent)]
            table.add_row(*([safe(name)] if len(rows) > 1 else []), *cells)
    return table


def _fitting(screen: Console, rows: list[tuple[str, Result, float]], dimension: str) -> tuple[Table, bool]:
    """The table of a dimension, without its details, and then without its last columns, if it would not fit.

    Also returns whether columns are left out.
    """
    table = columns_table(rows, dimension)
    if fits(screen, table):
        return table, False
    short, count = columns_table(rows, dimension, details=False), len(table.columns)
    while not fits(screen, short) and len(short.columns) > MIN_COLUMNS + (len(rows) > 1):
        short.columns.pop()
    return short, len(short.columns) < count


def _caption(kind: type[Result], dimension: str, table: Table, *, cut: bool) -> list[str]:
    """The sentences below a table: what its columns are, what cells abbreviate, and that columns are left out."""
    short = any(f"({SHORT})" in str(cell) for column in table.columns for cell in column.cells)
    about = kind.captions.get(dimension, "")
    return [
        *([about] if about else []),
        *([f"{SHORT}: {UNDETERMINED}, the standard error is as large"] if short else []),
        *(["more columns in a wider terminal, or with --json"] if cut else []),
    ]


def _and(words: Sequence[str]) -> str:
    """The words as an enumeration: `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
