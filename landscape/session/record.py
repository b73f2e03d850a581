"""What a session returns: the result with its attributes, and the files that were written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.analyses.base import Analysis
from landscape.errors import OutputError
from landscape.session.attributes import json_document


@dataclass(frozen=True)
class MeasurementRecord:
    """A result with the attributes that say how it was measured.

    `problem` is why the result could not be written; the result itself is not lost then. `snapshot` is the file with
    the work of an inconclusive measurement, if it could be written.
    """

    analysis: Analysis
    result: Any
    attributes: Mapping[str, Any]
    written: tuple[Path, ...] = ()
    problem: OutputError | None = None
    snapshot: Path | None = None

    @property
    def notes(self) -> list[str]:
        """What was noticed about the objective and the measurement, in sentences."""
        return list(json.loads(self.attributes["notes"]))

    def document(self) -> dict[str, Any]:
        """The record as plain data for JSON."""
        return json_document(self.analysis.name, self.result, self.attributes)
