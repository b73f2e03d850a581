"""The attributes of a stored result, which say how it was measured, and the result as plain data for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis, Result
from landscape.errors import OutputError
from landscape.objective.checks.finding import from_json, to_json
from landscape.storage.provenance import SCHEMA, STREAM, Fingerprint, environment

if TYPE_CHECKING:
    from landscape.objective import Objective

JSON_ATTRIBUTES = ("conditions", "options", "resolved_from", "environment", "notes")
JSON_KINDS = dict.fromkeys((*JSON_ATTRIBUTES, "fingerprint_parts"), dict) | {"notes": list}
PURCHASE_ATTRIBUTES = ("bought", "more")
PLAIN_ATTRIBUTES = ("fingerprint", "data_sha256", "mode", "device", "dtype", "wall_time_s")


def result_attributes(
    analysis: Analysis, objective: Objective, result: Any, fingerprint: Fingerprint, seconds: float
) -> dict[str, Any]:
    """The attributes under which the result of a measurement that took so many seconds is stored."""
    source = objective.source
    return {
        "status": "partial" if result.trouble() else "complete",
        "fingerprint": fingerprint.digest,
        "fingerprint_parts": fingerprint.to_json(),
        "schema": SCHEMA,
        "random_numbers": STREAM,
        "conditions": json.dumps(dict(source.conditions), sort_keys=True),
        "options": json.dumps(analysis.identity(), sort_keys=True),
        "resolved_from": json.dumps(dict(source.resolved_from), sort_keys=True),
        "environment": json.dumps(environment(), sort_keys=True),
        "notes": json.dumps([*objective.notes, *objective.strategies.all_notes(), *result.notes]),
        "checks": to_json(result.checks),
        "checkpoint": str(source.path or ""),
        "checkpoint_sha256": source.sha256,
        "data_sha256": objective.batches.sha256,
        "loss_value": objective.reference.loss,
        "mode": objective.mode,
        "seed": getattr(analysis, "seed", 0),
        "device": str(objective.device),
        "dtype": str(objective.dtype).removeprefix("torch."),
        "micro_batch": objective.micro_batch,
        "hvp": json.dumps(list(objective.strategies.descriptions())),
        **_product_error(objective),
        "wall_time_s": seconds,
        **_purchase(result, seconds),
        "products": getattr(result, "products", 0),
    }


def _purchase(result: Any, seconds: float) -> dict[str, str]:
    """What the work bought, and what more would buy, for results that say it."""
    sentences = {"bought": result.bought(), "more": result.more(seconds)}
    return {name: sentence for name, sentence in sentences.items() if sentence}


def _product_error(objective: Objective) -> dict[str, float]:
    """The largest measured error of a product with a unit vector, where products are differences of gradients."""
    measured = objective.strategies.product_error
    return {} if measured is None else {"product_error": measured[0]}


def has_readable_attributes(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes that hold JSON can be read, each of its kind, and the time is a number."""
    try:
        from_json(str(attributes.get("checks", "[]")))
        readable = all(isinstance(json.loads(str(attributes[key])), kind) for key, kind in JSON_KINDS.items())
        return readable and isinstance(attributes["wall_time_s"], int | float)
    except (ValueError, KeyError, OutputError):
        return False


def json_document(analysis: str, result: Result, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A result and its attributes as plain data for JSON; NaN and infinity become null."""
    return {
        "schema": SCHEMA,
        "analysis": analysis,
        "status": attributes["status"],
        "checkpoint": {"path": attributes["checkpoint"], "sha256": attributes["checkpoint_sha256"]},
        **{key: json.loads(attributes[key]) for key in JSON_ATTRIBUTES},
        "checks": json.loads(str(attributes.get("checks", "[]"))),
        **{key: attributes[key] for key in PLAIN_ATTRIBUTES},
        **{key: str(attributes[key]) for key in PURCHASE_ATTRIBUTES if key in attributes},
        "result": result.to_dict(),
    }
