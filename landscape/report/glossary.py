"""What every number of the shown results means: its field, its unit, and its description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from landscape.analyses import Result
from landscape.analyses.tidy import arrays_of, scalars_of
from landscape.fields import Array, Scalar, described_fields, gauge_of, number_fields
from landscape.report.markup import Html, element, join, table
from landscape.report.page import Section
from landscape.report.tables import term_id, words

COMMON = (
    ("a ± b", "The value a with its error b: a standard error, or a bound of the error where the entry says so."),
    ("loss", "The mean of the loss over the samples of the data, at the weights of the checkpoint."),
    ("inconclusive", "The numbers do not answer the question yet; the reason and the remedy stand beside it."),
    ("fingerprint", "A hash of everything that decides a result: weights, data, loss, mode, precision, options, seed."),
    ("data hash", "A hash of the samples in their order: results of other data are not comparable."),
)  # terms that no field describes


def glossary(results: Iterable[Mapping[str, Result]]) -> Section:
    """A table of terms for all analyses, and one for each analysis among the results."""
    held: dict[str, tuple[type[Result], set[str]]] = {}
    for records in results:
        for name, result in records.items():
            _, names = held.setdefault(name, (type(result), set()))
            names.update(scalars_of(result), arrays_of(result))
    parts = tuple(Section(name, _table(name, kind, names)) for name, (kind, names) in held.items())
    return Section(
        "Glossary", table("Terms of this page", ["term", "meaning"], COMMON, texts=range(2)), parts, listed=False
    )


def _table(analysis: str, kind: type[Result], names: set[str]) -> Html:
    """The entries of an analysis, in the order of its fields."""
    fields: dict[str, Scalar | Array] = {field.name: field.about for field in described_fields(kind, Scalar)}
    arrays = {field.name: field.about for field in described_fields(kind, Array)}
    known = {name: about for name, about in (arrays | fields).items() if name in names}
    units = any(about.unit != "1" for about in known.values())
    rows = []
    for name, about in known.items():
        field = element("code", f"{analysis}.{name}{_place(about)}")
        unit = ["" if about.unit == "1" else about.unit] if units else []
        term = join([element("span", words(name), id=term_id(analysis, name)), field])
        rows.append([term, *unit, about.help + _error_note(kind, name)])
    head = ["quantity and field", *(["unit"] if units else []), "meaning"]
    return table(f"What the numbers of {analysis} are", head, rows, texts=range(len(head)))


def _place(about: Scalar | Array) -> str:
    """The dimensions of an array behind its name."""
    return f"[{', '.join(about.dims)}]" if isinstance(about, Array) else ""


def _error_note(kind: type[Result], name: str) -> str:
    """Which number is the error of this one."""
    error = gauge_of(kind, name).error if name in number_fields(kind) else ""
    return f" Its error: {words(error)}." if error else ""
