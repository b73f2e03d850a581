"""The description of itself that a checkpoint may carry: plain data, never code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from landscape.checkpoints import json_data
from landscape.errors import CheckpointError, listing, safe_excerpt

SPEC_KEY = "landscape"  # the entry of a .pt dictionary, or of safetensors' metadata, that holds the description
DATA_KEY = "landscape_data"  # where an embedded batch is kept: inputs and targets
SCHEMA = 1
LARGEST = 1 << 20  # characters of a description
AGAIN = "write the checkpoint again with landscape.save, or name --model and --data"


@dataclass(frozen=True)
class Spec:
    """Names, with arguments, of the model, the data, and the loss or the objective that the weights were made for.

    Names are looked up among registered ones; a spec causes no import but from modules that the user trusts.
    `populations` names further data sets (`{"held-out": {"data": "grammar", "data_args": {...}}}`), `about` holds
    free facts such as the optimizer step.
    """

    model: str | None = None
    model_args: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    data_args: dict[str, Any] = field(default_factory=dict)
    loss: str | None = None
    objective: str | None = None
    populations: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        entries = {key: value for key, value in asdict(self).items() if key != "objective" or value}
        return json.dumps({"schema": SCHEMA, **entries}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Spec:
        """The spec written as JSON in the checkpoint `where`; raises CheckpointError if it is malformed."""
        entries = json_data.parse_json(
            text.encode() if len(text) <= LARGEST else None, f"{where}: its description of itself"
        )
        if not isinstance(entries, dict) or "schema" not in entries:
            raise CheckpointError(f"{where}: its description of itself is not readable: no schema", fix=AGAIN)
        schema = entries.pop("schema")
        if schema != SCHEMA:
            raise CheckpointError(
                f"{where}: its description has schema {safe_excerpt(schema)}, this version reads {SCHEMA}",
                fix="update landscape, or " + AGAIN,
            )
        unknown = sorted(set(entries) - {f.name for f in fields(cls)})
        if unknown:
            raise CheckpointError(
                f"{where}: its description has unknown entries: {listing(map(safe_excerpt, unknown))}", fix=AGAIN
            )
        return cls(**entries)._check(where)

    def _check(self, where: str) -> Spec:
        names = (self.model, self.data, self.loss, self.objective)
        words = all(value is None or isinstance(value, str) for value in names)
        tables = all(isinstance(t, dict) for t in (self.model_args, self.data_args, self.populations, self.about))
        named = [value for value in names if isinstance(value, str)]
        if not (words and tables and all(value == safe_excerpt(value) for value in named)):
            raise CheckpointError(f"{where}: its description has entries of the wrong type", fix=AGAIN)
        return self
