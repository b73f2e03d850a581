"""The tables of a result: numbers rounded to the digits of their errors, with links to what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from landscape.analyses import Result
from landscape.analyses.numbers import is_standard_error, number, with_error
from landscape.analyses.tidy import arrays_of, scalars_of
from landscape.fields import Scalar, described_fields, gauge_of, number_fields
from landscape.report.markup import Html, element, table, text

MAX_ROWS = 40  # of a table: a reader wants the first ones, and a file of results holds all


def result_tables(analysis: str, result: Result) -> Html:
    """The scalars, then a table for each dimension that the command prints too."""
    return element("div", _scalars(analysis, result), *_by_dimension(analysis, result), class_="tables")


def term_id(analysis: str, name: str) -> str:
    """The id of the entry of the glossary that explains a number."""
    return f"term-{analysis}-{name}"


def words(name: str) -> str:
    """The name of a field as it is read."""
    return name.replace("_", " ")


def errors_of(kind: type[Result], names: Mapping[str, Any]) -> dict[str, str]:
    """The numbers among these names that have their error there too, each with the name of that."""
    fields = number_fields(kind)
    gauges = {name: gauge_of(kind, name).error for name in names if name in fields}
    return {name: error for name, error in gauges.items() if error in names}


def _scalars(analysis: str, result: Result) -> Html:
    """A row for each number: its value with its error, and its unit."""
    values = scalars_of(result)
    errors = errors_of(type(result), values)
    units = {field.name: field.about.unit for field in described_fields(type(result), Scalar)}
    rows = []
    for name in (name for name in values if name not in errors.values()):
        shown = cell(values[name], values.get(errors.get(name, "")), bound=not is_standard_error(errors.get(name, "")))
        rows.append([_term(analysis, name), shown, "" if units[name] == "1" else units[name]])
    head = ["quantity", "value", "unit"]
    if not any(unit for *_, unit in rows):
        head, rows = head[:2], [row[:2] for row in rows]
    return table(f"Numbers of {analysis}", head, rows) if rows else Html()


def _by_dimension(analysis: str, result: Result) -> Iterator[Html]:
    arrays = arrays_of(result)
    for dimension in type(result).tables:
        columns = {name: values for name, (_, dims, values) in arrays.items() if dims == (dimension,)}
        if not columns:
            continue
        errors = errors_of(type(result), columns)
        length = len(next(iter(columns.values())))
        shown = [name for name in columns if name not in errors.values()]
        if dimension not in columns:
            columns[dimension], shown = np.arange(length), [dimension, *shown]
        rows = [
            [
                cell(columns[name][place], _at(columns.get(error), place), bound=not is_standard_error(error))
                for name, error in ((name, errors.get(name, "")) for name in shown)
            ]
            for place in range(min(length, MAX_ROWS))
        ]
        texts = [place for place, name in enumerate(shown) if place == 0 or columns[name].dtype.kind == "U"]
        more = f"; the first {MAX_ROWS} of {length:,}" if length > MAX_ROWS else ""
        yield table(
            f"{analysis} by {words(dimension)}{more}",
            [_term(analysis, name) if name in arrays else words(name) for name in shown],
            rows,
            texts=texts,
        )


def _at(values: Any, place: int) -> Any:
    return None if values is None else values[place]


def _term(analysis: str, name: str) -> Html:
    """The name of a number with a link to its entry in the glossary."""
    return element("a", words(name), href=f"#{term_id(analysis, name)}")


def cell(value: Any, error: Any = None, *, bound: bool = False) -> Html:
    """The text of a number with its error, a standard one or a bound, of a word, or of yes and no."""
    return text(number(value) if error is None else with_error(float(value), float(error), bound=bound))
