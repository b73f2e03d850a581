"""Stored results as records, with what the checks of the model, the loss and the data had found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.analyses import ANALYSES
from landscape.errors import OutputError
from landscape.history import history_of, is_history
from landscape.objective.checks.finding import from_json
from landscape.session.attributes import has_readable_attributes
from landscape.session.titles import measurement_title
from landscape.storage.read import StoredResult, read_results, read_root, to_record

REQUIRED_ATTRIBUTES = {
    "checkpoint", "checkpoint_sha256", "fingerprint", "fingerprint_parts", "wall_time_s", "status", "conditions",
    "options", "resolved_from", "environment", "notes", "data_sha256", "mode", "device", "dtype",
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Results(Mapping[str, Any]):
    """The results in a file by the names of their analyses: `results["eig"]`, or `results.eig`.

    `groups` are what the file holds, those of analyses that this version does not know included.
    """

    file: Path
    groups: Mapping[str, StoredResult]
    records: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getattr__(self, name: str) -> Any:
        held = vars(self).get("records", {})
        if name not in held:
            raise AttributeError(f"no result of {name}: the file holds {', '.join(held)}")
        return held[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.records]

    def __repr__(self) -> str:
        lines = [f"<Results of {self.file}:", *(f"  {name}: {one!r}" for name, one in self.records.items())]
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        """The results one below the other, as notebooks show them."""
        return "\n".join(one._repr_html_() for one in self.records.values())

    def title(self, analysis: str) -> str:
        """The title of a result in tables and pictures."""
        return measurement_title(analysis, self.groups[analysis].attributes)

    def fingerprint(self, analysis: str) -> str:
        """The hash of everything that decided a result."""
        return str(self.groups[analysis].attributes["fingerprint"])


def read(path: str | Path) -> Any:
    """The `Results` in a file that landscape has written, or the `History` of a run; torch is not needed.

    Nothing in the file is run. Raises OutputError for another file, a damaged one, and one that holds nothing known.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> _ = landscape.run(landscape.Eig(k=2), objective, output="mlp.landscape.h5")
    >>> landscape.read("mlp.landscape.h5").eig.eigenvalues.shape
    (2,)
    """
    root = read_root(Path(path))
    return history_of(root, Path(path)) if is_history(root) else read_measurements(path)


def read_measurements(path: str | Path) -> Results:
    """The results of a file; raises OutputError as `read`, and for a run's history."""
    file = Path(path)
    if is_history(read_root(file)):
        raise OutputError(f"{file} is the history of a run, and no result of one checkpoint", fix="landscape show FILE")
    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    groups = read_results(file)
    records = {name: result_of(kinds[name], group, name) for name, group in groups.items() if name in kinds}
    for name in records:
        attributes = groups[name].attributes
        if not attributes.keys() >= REQUIRED_ATTRIBUTES or not has_readable_attributes(attributes):
            raise OutputError(f"{file}: /{name} lacks its attributes, or they are damaged", fix="measure again")
    if not records:
        raise OutputError(
            f"{file} holds no result that this version knows", fix="the version that wrote it, or measure again"
        )
    return Results(file, groups, records)


def result_of(kind: type, stored: StoredResult, analysis: str = "") -> Any:
    """The result of this kind from its stored values and checks; raises OutputError if they cannot be read."""
    attributes = {**({"analysis": analysis} if analysis else {}), **stored.attributes}
    checks = from_json(str(stored.attributes.get("checks", "[]")))
    return replace(to_record(kind, stored), checks=checks, attributes=attributes)
