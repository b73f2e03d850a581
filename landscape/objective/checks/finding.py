"""What a check of the model, the loss or the data found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from landscape.errors import OutputError

Verdict = Literal["holds", "noted", "broken", "not run"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: its name, the claim that it checks, the verdict, and what it found, as a sentence.

    With "noted" the measurement is right, but measures something that a reader has to know; with "broken" the numbers
    cannot be trusted, and `fix` is the remedy. `cost` says in words what the check computes. `error` is the relative
    difference that was found between two computations of the same thing, if the check compares any.
    """

    check: str
    claim: str
    verdict: Verdict
    found: str
    fix: str = ""
    cost: str = ""
    error: float | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.claim}: {self.verdict.replace('holds', 'yes')}, {self.found}"


def to_json(findings: Iterable[Finding]) -> str:
    """The findings as a JSON list of objects."""
    return json.dumps([asdict(finding) for finding in findings])


def from_json(text: str) -> tuple[Finding, ...]:
    """The findings of a JSON list; raises OutputError for anything else."""
    names = {field.name for field in fields(Finding)}
    try:
        return tuple(
            _from_object({name: value for name, value in one.items() if name in names}) for one in json.loads(text)
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise OutputError("the checks of a stored result cannot be read", fix="measure again") from error


def _from_object(values: dict[str, Any]) -> Finding:
    """One finding; raises ValueError for a verdict that there is not."""
    if values.get("verdict") not in get_args(Verdict) or not isinstance(values.get("found"), str):
        raise ValueError("not a finding")
    return Finding(**values)
