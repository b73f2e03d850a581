"""Stored results as records, with what the checks of the model, the loss and the data had found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from landscape.objective.checks.finding import from_json
from landscape.storage.read import StoredResult, to_record


def result_of(kind: type, stored: StoredResult) -> Any:
    """The result of this kind from its stored values and checks; raises OutputError if they cannot be read."""
    return replace(to_record(kind, stored), checks=from_json(str(stored.attributes.get("checks", "[]"))))
