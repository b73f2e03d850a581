"""How results look in an interpreter and in a notebook, and what they are converted to."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import fields
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from landscape.analyses.numbers import number, with_error
from landscape.analyses.tidy import TidyTable, arrays_of, scalars_of, tidy_tables, to_dataframe, to_xarray
from landscape.errors import UsageError, clean
from landscape.fields import Array, Scalar, described_fields, gauge_of
from landscape.storage.write import write_results

__all__ = ["as_page", "draw_result", "in_a_line", "plain_values", "save_result", "to_dataframe", "to_xarray"]
SHOWN_VALUES = 3  # of an array, in a line
SHOWN_ESTIMATES = 3  # scalars with errors, in a line
SHOWN_ROWS = 20  # of a table, in a page
STYLE = "text-align:right;padding:2px 10px"


def plain_values(result: Any) -> dict[str, Any]:
    """The described fields of a result as numbers, lists and None; NaN and infinity become None."""
    names = [field.name for kind in (Array, Scalar) for field in described_fields(type(result), kind)]
    values = {name: getattr(result, name) for name in names}
    return {name: _finite(np.asarray(value).tolist()) for name, value in values.items() if value is not None}


def _finite(value: Any) -> Any:
    """The value with None in the place of NaN and infinity, at any depth of lists."""
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def draw_result(result: Any, axes: Any, **look: Any) -> Any:
    """Draws a result on axes of matplotlib, new ones if none are given; returns them."""
    return _figures().draw(result, axes, **look)


def save_result(result: Any, path: str | Path) -> None:
    """Writes a result and its attributes into a results file."""
    if "analysis" not in result.attributes:
        raise UsageError("the result has no attributes that say what was measured", fix="landscape.run makes them")
    attributes = {name: value for name, value in result.attributes.items() if name != "analysis"}
    write_results(Path(path), result.attributes["analysis"], result, attributes)


def _figures() -> Any:
    """The package of figures, which lies above that of analyses: results know it by name alone."""
    return import_module("landscape.figures")


def in_a_line(result: Any) -> str:
    """A result in a line: what was measured, its first values, numbers with errors, and whether it is conclusive."""
    values, estimates = _first_values(result), _estimates(result)
    places = {field.name: place for place, field in enumerate(fields(result))}
    begins = [places[part.partition(" ")[0]] for part in (*values, *estimates)]
    parts = estimates if len(begins) > 1 and begins[0] > begins[1] else values + estimates
    parts = result.gist() or parts or _first_facts(result)
    if "loss" in (scalars := scalars_of(result)):
        parts.append(f"loss {number(scalars['loss'])}")
    if trouble := result.trouble():
        parts.append(f"inconclusive: {trouble}")
    return f"<{type(result).__name__}{_of_checkpoint(result)}: {', '.join(parts)}>"


def _of_checkpoint(result: Any) -> str:
    name = Path(str(result.attributes.get("checkpoint", ""))).name
    return f" of {clean(name)}" if name else ""


def _first_values(result: Any) -> list[str]:
    """The first values of the first list of numbers in the result's first table."""
    for name, (_, dims, array) in arrays_of(result).items():
        if array.dtype.kind == "f" and len(dims) == 1 and dims[0] in type(result).tables[:1] and name != dims[0]:
            shown = ", ".join(map(number, array[:SHOWN_VALUES].tolist()))
            return [f"{name} {shown}" + (f", ... ({len(array)})" if len(array) > SHOWN_VALUES else "")]
    return []


def _first_facts(result: Any) -> list[str]:
    """The first scalars that are always printed, of a result without lists or errors in a line."""
    scalars = scalars_of(result)
    names = [name for name in type(result).facts or scalars if name in scalars and name != "loss"]
    return [f"{name} {number(scalars[name])}" for name in names[:SHOWN_ESTIMATES]]


def _estimates(result: Any) -> list[str]:
    """The first scalars with a standard error."""
    scalars, errors = scalars_of(result), _errors(result)
    named = list(errors)[:SHOWN_ESTIMATES]
    return [f"{name} {with_error(float(scalars[name]), float(scalars[errors[name]]))}" for name in named]


def _errors(result: Any) -> dict[str, str]:
    """The scalars that have an error beside them, each with the name of that."""
    scalars, kind = scalars_of(result), type(result)
    errors = {name: gauge_of(kind, name).error for name in scalars}
    return {name: error for name, error in errors.items() if error in scalars}


def as_page(result: Any) -> str:
    """A result as HTML: numbers with errors, its printed tables, the picture if it has one, and remarks.

    Every text is escaped.
    """
    figures = _figures()
    picture = figures.picture(result) if figures.drawn(result) else None
    parts = [f"<p><b>{escape(type(result).__name__ + _of_checkpoint(result))}</b></p>"]
    if trouble := result.trouble():
        fix = f"; {trouble.fix}" if trouble.fix else ""
        parts.append(f"<p>inconclusive: {escape(trouble.why + fix)}</p>")
    parts.append(_numbers(result))
    tables = tidy_tables(result)
    parts += [_table(result, tables[(name,)]) for name in type(result).tables if (name,) in tables]
    if picture:
        source = f"data:image/png;base64,{b64encode(picture).decode()}"
        parts.append(f'<img alt="{escape(in_a_line(result))}" src="{source}">')
    parts += [f"<p>{escape(remark)}</p>" for remark in result.sentences()]
    return "<div>" + "\n".join(parts) + "</div>"


def _numbers(result: Any) -> str:
    """The scalars, each with its error beside it and its description as a tooltip."""
    scalars = scalars_of(result)
    helps = {field.name: field.about.help for field in described_fields(type(result), Scalar)}
    errors = _errors(result)
    rows = []
    for name in (name for name in scalars if name not in errors.values()):
        value, error = scalars[name], scalars.get(errors.get(name, ""))
        shown = number(value) if error is None else with_error(float(value), float(error))
        head = f'<th scope="row" style="text-align:left" title="{escape(helps[name])}">{escape(_words(name))}</th>'
        rows.append(f'<tr>{head}<td style="{STYLE}">{escape(shown)}</td></tr>')
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _table(result: Any, table: TidyTable) -> str:
    """The first rows of a table."""
    helps = {field.name: field.about.help for field in described_fields(type(result), Array)}
    heads = [
        f'<th scope="col" style="{STYLE}" title="{escape(helps.get(name, ""))}">{escape(_words(name))}</th>'
        for name in table.columns
    ]
    columns = [column[:SHOWN_ROWS].tolist() for column in table.columns.values()]
    rows = [_row(cells) for cells in zip(*columns, strict=True)]
    more = table.rows - SHOWN_ROWS
    note = f"<p>and {more:,} more</p>" if more > 0 else ""
    return f"<table><tr>{''.join(heads)}</tr>{''.join(rows)}</table>{note}"


def _row(cells: Iterable[Any]) -> str:
    return "<tr>" + "".join(f'<td style="{STYLE}">{escape(number(cell))}</td>' for cell in cells) + "</tr>"


def _words(name: str) -> str:
    return name.replace("_", " ")
