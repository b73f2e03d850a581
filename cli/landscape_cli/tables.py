"""Tables on stdout; those of results are derived from the results' fields."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from landscape.analyses import Result
from landscape.errors import clean
from landscape.fields import ERROR_SUFFIX, Array, Described, Scalar, described_fields, gauge_of, number_fields
from landscape_cli.columns import Column
from landscape_cli.numbers import SHORT, UNDETERMINED, number, with_error

# fields of results keep the spelling of the first version, in which results files store them
PRESENT_SPELLINGS = {"memorised": "memorized", "normalised": "normalized", "centre": "center"}
REMARKED_LOSS_GAP = 0.1  # relative: beyond it, curvatures of cross-entropy are not comparable
HEADER_WIDTH = 12  # characters of a header's line: longer ones make columns wider than their numbers
MIN_COLUMNS = 3  # that are shown in the narrowest terminal
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


def print_measurements(rows: list[tuple[str, Result, float]], *, verbose: bool = False) -> None:
    """Prints tables of all checkpoints, then a line of numbers for each; rows are titles, results and seconds.

    The line holds the facts that the result names, and with `verbose` all of its numbers.
    """
    screen = console()
    tables = [_estimates(rows), *(_fitting(screen, rows, dimension) for dimension in rows[0][1].tables)]
    for table in tables:
        if table.row_count:  # a line that does not fit is wrapped by the terminal: no number is cut
            needed = _width(screen, table)
            roomy = needed <= screen.width
            (screen if roomy else Screen(width=needed, force_terminal=screen.is_terminal)).print(table)
    if apart := _unlike_losses([result for _, result, _ in rows]):
        screen.print(apart, soft_wrap=True, highlight=False)
    for name, result, seconds in rows:
        screen.print(f"{_safe(name)}: {_facts(result, seconds, verbose)}", soft_wrap=True, highlight=False)
        purchase = filter(None, (result.bought(), result.more(seconds)))
        for remark in [*([str(trouble)] if (trouble := result.trouble()) else []), *result.remarks(), *purchase]:
            screen.print(f"  {_safe(remark)}", soft_wrap=True, highlight=False)


def _unlike_losses(results: list[Result]) -> str:
    """Why the results are not comparable, if their losses are too far apart; else ""."""
    compared = [result.reference_loss() for result in results if result.follows_loss]
    losses = [loss for loss in compared if math.isfinite(loss)]
    if len(losses) < 2 or max(losses) - min(losses) <= REMARKED_LOSS_GAP * abs(max(losses, key=abs)):
        return ""
    return (
        f"losses from {min(losses):.4g} to {max(losses):.4g}: what is measured here follows the loss (cross-entropy "
        "flattens as a net becomes confident), so that these are not comparable"
    )


def print_rows(title: str, rows: Mapping[str, str]) -> None:
    """Prints texts beside their names."""
    table = Table(title=_safe(title), box=box.SIMPLE, show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(_safe(name), _safe(value))
    console().print(table)


def print_grid(columns: Sequence[Column], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Prints cells in columns; nothing is cut."""
    table = Table(box=box.SIMPLE_HEAD, title=_safe(title) or None, title_justify="left")
    for column in columns:
        table.add_column(column.header, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(_safe, row))
    screen = console()
    needed = _width(screen, table)
    (screen if needed <= screen.width else Screen(width=needed, force_terminal=screen.is_terminal)).print(table)


def print_tensors(tensors: Mapping[str, tuple[tuple[int, ...], str]], limit: int | None) -> None:
    """Prints names, shapes and dtypes of the first `limit` tensors, and how many more there are."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", justify="right")
    table.add_column("dtype")
    for name, (shape, dtype) in list(tensors.items())[:limit]:
        table.add_row(_safe(name), " x ".join(map(str, shape)) or "scalar", _safe(dtype))
    if limit is not None and len(tensors) > limit:
        table.add_row(f"and {len(tensors) - limit:,} more (--all)", "", "")
    console().print(table)


def _scalars(result: Result) -> dict[str, Any]:
    every = {f.name: getattr(result, f.name) for f in described_fields(type(result), Scalar)}
    return {name: value for name, value in every.items() if value is not None}


def _facts(result: Result, seconds: float, verbose: bool) -> str:
    """The numbers of a result that are in no table, and its time: those that it names as its facts, or all."""
    others = {name: value for name, value in _scalars(result).items() if name not in _names_of_estimates(result)}
    named = others if verbose or not result.facts else {n: others[n] for n in result.facts if n in others}
    kind = type(result)
    numbers = [f"{_label(kind, name)} {_number(kind, name, value)}" for name, value in named.items()]
    rest = len(others) - len(named)
    return ", ".join([*numbers, f"time {seconds:.3g} s", *([f"{rest} more with --verbose"] if rest else [])])


def _names_of_estimates(result: Result) -> set[str]:
    """The scalars with an error beside them, and these errors."""
    kind, values = type(result), _scalars(result)
    pairs = {name: _error_field(kind, name) for name in values}
    return {word for name, error in pairs.items() if error in values for word in (name, error)}


def _estimates(rows: list[tuple[str, Result, float]]) -> Table:
    """The scalars that have an error, one a line."""
    table = Table(box=box.SIMPLE_HEAD)
    several = [Column("checkpoint")] if len(rows) > 1 else []
    for column in (*several, Column(""), Column("estimate ± standard error")):
        table.add_column(column.header, justify=column.justify)
    for name, result, _ in rows:
        values, kind = _scalars(result), type(result)
        for base in [n for n in values if _error_field(kind, n) in values]:
            error, percent = values[_error_field(kind, base)], _description(kind, base).percent
            cells = [_safe(_label(kind, base)), with_error(values[base], error, percent=percent)]
            table.add_row(*([_safe(name)] if len(rows) > 1 else []), *cells)
    return table


def _description(kind: type[Result], name: str) -> Scalar | Array:
    return number_fields(kind)[name]


def _number(kind: type[Result], name: str, value: Any) -> str:
    """The text of a number that has no error."""
    return _safe(number(value, percent=name in number_fields(kind) and _description(kind, name).percent))


def _error_field(kind: type[Result], name: str) -> str:
    """The field with the error that is printed behind a number, over the same dimensions; "" without one."""
    numbers = number_fields(kind)
    error = gauge_of(kind, name).error if name in numbers else ""
    if error not in numbers or getattr(numbers[name], "dims", ()) != getattr(numbers[error], "dims", ()):
        return ""
    return error


def _is_standard_error(name: str) -> bool:
    """Whether a field holds standard errors: other errors are bounds, within which a number of zero is determined."""
    return name.endswith((ERROR_SUFFIX, "standard_error", "standard_errors"))


def _width(screen: Console, table: Table) -> int:
    """The characters that a table takes if nothing of it is cut or folded."""
    return Measurement.get(screen, screen.options.update(max_width=PLAIN_WIDTH), table).maximum


def _fitting(screen: Console, rows: list[tuple[str, Result, float]], dimension: str) -> Table:
    """The table of a dimension, without its details, and then without its last columns, if it would not fit."""
    table = _columns(rows, dimension)
    if _width(screen, table) <= screen.width:
        return _with_caption(table)
    short, count = _columns(rows, dimension, details=False), len(table.columns)
    while _width(screen, short) > screen.width and len(short.columns) > MIN_COLUMNS + (len(rows) > 1):
        short.columns.pop()
    return _with_caption(
        short, *(["more columns in a wider terminal, or with --json"] if len(short.columns) < count else [])
    )


def _with_caption(table: Table, *sentences: str) -> Table:
    """The table with these sentences below it, and with the words of what its cells abbreviate."""
    short = any(f"({SHORT})" in str(cell) for column in table.columns for cell in column.cells)
    words = [*([f"{SHORT}: {UNDETERMINED}, the standard error is as large"] if short else []), *sentences]
    table.caption = "; ".join(words) or None
    return table


def _columns(rows: list[tuple[str, Result, float]], dimension: str, *, details: bool = True) -> Table:
    """The arrays over one dimension side by side; its names, or numbers from 0, come first.

    An array over a dimension `across` the table and this one has a column for each entry of the former.
    """
    kind = type(rows[0][1])
    over = {(across, dimension) for across in kind.across if across != dimension}
    fields = [
        f for f in described_fields(kind, Array) if f.about.dims == (dimension,) and (details or not f.about.detail)
    ]
    fields += [f for f in described_fields(kind, Array) if f.about.dims in over and not f.about.detail]
    every = [field.name for field in fields]
    held = [f for f in fields if f.name != dimension and any(getattr(r, f.name) is not None for _, r, _ in rows)]
    behind = {_error_field(kind, f.name) for f in held}  # errors that are printed behind their numbers
    shown = [f for f in held if f.name not in behind]
    columns = [column for field in shown for column in _spread(rows, field)]
    table = Table(box=box.SIMPLE_HEAD)
    if len(rows) > 1:
        table.add_column("checkpoint")
    table.add_column(dimension, justify="left" if dimension in every else "right", overflow="fold")
    for name, entry in columns:
        error = _error_field(kind, name)
        label = _label(kind, name, dimension)
        behind_it = f"± {_label(kind, error, dimension)}" if error else ""
        header = [*wrap(_safe(label), HEADER_WIDTH), behind_it, _safe(entry)]
        table.add_column("\n".join(filter(None, header)), justify="right")
    for checkpoint, result, _ in rows:
        values = [_entry(result, *column) for column in columns]
        if not values or values[0] is None:
            continue
        errors = [_error_entry(result, *column) for column in columns]
        length = len(values[0])
        labels: Any = getattr(result, dimension) if dimension in every else range(length)
        for index, label in zip(range(length), labels, strict=True):
            cells = [
                "" if column is None else _cell(kind, name, column[index], None if error is None else error[index])
                for (name, _), column, error in zip(columns, values, errors, strict=True)
            ]
            row = number(float(label)) if isinstance(label, np.floating) else _safe(str(label))
            table.add_row(*([_safe(checkpoint)] if len(rows) > 1 else []), row, *cells)
    return table


def _spread(rows: list[tuple[str, Result, float]], field: Described[Array]) -> list[tuple[str, str]]:
    """The columns that an array takes: its name, with an entry of the dimension across if it has one."""
    if len(field.about.dims) == 1:
        return [(field.name, "")]
    entries = [str(entry) for _, result, _ in rows for entry in getattr(result, field.about.dims[0])]
    return [(field.name, entry) for entry in dict.fromkeys(entries)]


def _entry(result: Result, name: str, entry: str) -> Any:
    """A column of a result; None if the result has no such column."""
    values = getattr(result, name)
    if values is None or not entry:
        return values
    dims = next(f.about.dims for f in described_fields(type(result), Array) if f.name == name)
    found = np.flatnonzero(np.asarray(getattr(result, dims[0])).astype(str) == entry)
    return values[found[0]] if len(found) else None


def _error_entry(result: Result, name: str, entry: str) -> Any:
    """The errors of a column of a result; None if it has none."""
    field = _error_field(type(result), name)
    return _entry(result, field, entry) if field else None


def _cell(kind: type[Result], name: str, value: Any, error: Any) -> str:
    """The text of a number in a table, with its error behind it if it has one."""
    if error is None:
        return _number(kind, name, value)
    bound = not _is_standard_error(_error_field(kind, name))
    return with_error(
        float(value), float(error), bound=bound, percent=_description(kind, name).percent, undetermined=SHORT
    )


def _safe(text: str) -> str:
    """The text with markup and control characters escaped."""
    return escape(clean(text))


def _label(kind: type[Result], name: str, dimension: str = "") -> str:
    """What a number is called in the table of a dimension: its label, else its name without that of the dimension."""
    own = next((f.about.label for f in described_fields(kind, Array) if f.name == name), "")
    own = own or next((f.about.label for f in described_fields(kind, Scalar) if f.name == name), "")
    short = name.removeprefix(f"{dimension}_") if dimension else name
    return own or ("standard error" if short.endswith(ERROR_SUFFIX) else _words(short))


def _words(name: str) -> str:
    """The name of a field as words, in their present spelling."""
    return " ".join(PRESENT_SPELLINGS.get(word, word) for word in name.split("_"))
