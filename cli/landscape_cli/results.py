"""StoredResult results as records, for the commands that only read them; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analyses import ANALYSES
from landscape.errors import OutputError

if TYPE_CHECKING:
    from landscape.storage.read import StoredResult

REQUIRED = {
    "checkpoint", "checkpoint_sha256", "fingerprint", "fingerprint_parts", "wall_time_s", "status", "conditions",
    "options", "resolved_from", "environment", "notes", "data_sha256", "mode", "device", "dtype",
}  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What a results file holds: groups as stored, and those that this version knows as records."""

    file: Path
    groups: Mapping[str, StoredResult]
    records: Mapping[str, Any]

    def name(self, analysis: str) -> str:
        """How a result is called in tables and pictures."""
        from landscape.session import measurement_title

        return measurement_title(analysis, self.groups[analysis].attributes)

    def fingerprint(self, analysis: str) -> str:
        return str(self.groups[analysis].attributes["fingerprint"])


def read(file: Path) -> Results:
    """Raises OutputError if the file is none of ours, is damaged, or holds nothing that is known."""
    from landscape.session import has_readable_attributes
    from landscape.storage.read import read_results, to_record

    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    groups = read_results(file)
    records = {name: to_record(kinds[name], group) for name, group in groups.items() if name in kinds}
    incomplete = [
        name
        for name in records
        if not (groups[name].attributes.keys() >= REQUIRED and has_readable_attributes(groups[name].attributes))
    ]
    if incomplete:
        raise OutputError(f"{file}: /{incomplete[0]} lacks its attributes, or they are damaged", fix="measure again")
    if not records:
        raise OutputError(f"{file} holds no result that this version knows")
    return Results(file, groups, records)
