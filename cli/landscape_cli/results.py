"""Stored results as records, and `landscape show`, which prints them; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.analyses import ANALYSES
from landscape.errors import OutputError

if TYPE_CHECKING:
    from landscape.storage.read import StoredResult

REQUIRED_ATTRIBUTES = {
    "checkpoint", "checkpoint_sha256", "fingerprint", "fingerprint_parts", "wall_time_s", "status", "conditions",
    "options", "resolved_from", "environment", "notes", "data_sha256", "mode", "device", "dtype",
}  # fmt: skip


@dataclass(frozen=True)
class ResultsFile:
    """What a results file holds: groups as stored, and as records those of the analyses that this version knows."""

    file: Path
    groups: Mapping[str, StoredResult]
    records: Mapping[str, Any]

    def title(self, analysis: str) -> str:
        """The title of a result in tables and pictures."""
        from landscape.session import measurement_title

        return measurement_title(analysis, self.groups[analysis].attributes)

    def fingerprint(self, analysis: str) -> str:
        """The hash of everything that decided a result."""
        return str(self.groups[analysis].attributes["fingerprint"])


def load_results(file: Path) -> ResultsFile:
    """Raises OutputError if landscape did not write the file, if it is damaged, or if it holds nothing known."""
    from landscape.session import has_readable_attributes, result_of
    from landscape.storage.read import read_results

    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    groups = read_results(file)
    records = {name: result_of(kinds[name], group) for name, group in groups.items() if name in kinds}
    for name in records:
        attributes = groups[name].attributes
        if not attributes.keys() >= REQUIRED_ATTRIBUTES or not has_readable_attributes(attributes):
            raise OutputError(f"{file}: /{name} lacks its attributes, or they are damaged", fix="measure again")
    if not records:
        raise OutputError(f"{file} holds no result that this version knows")
    return ResultsFile(file, groups, records)


def show(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """`landscape show`: prints every result of a file."""
    stored = load_results(file)
    if as_json:
        from landscape.session import json_document

        documents = [json_document(name, one, stored.groups[name].attributes) for name, one in stored.records.items()]
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
        return
    from landscape_cli import tables

    for name, record in stored.records.items():
        tables.print_measurements([(stored.title(name), record, stored.groups[name].attributes["wall_time_s"])])
