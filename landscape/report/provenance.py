"""Where numbers come from: checkpoint, data, options, conditions and versions of every result, and how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.report.commands import command_of
from landscape.report.markup import Html, element, facts, fold, items, join, table
from landscape.report.page import Section
from landscape.session import Results

SHORT_HASH = 12  # letters of a hash in a table
HASHES = {"checkpoint_sha256": "checkpoint SHA-256", "data_sha256": "data SHA-256", "fingerprint": "fingerprint"}
SETTINGS = ("mode", "device", "dtype", "micro_batch", "seed", "random_numbers", "schema")
OWN_PACKAGE = "loss-landscape-geometry"


def measurement_facts(labels: Sequence[str], results: Sequence[Results]) -> Html:
    """A row for each result: the checkpoint, the data, the precision, whether it is conclusive, and the time."""
    rows = [
        [
            *([label] if len(results) > 1 else []),
            Path(str(attributes["checkpoint"])).name or "model",
            name,
            f"{record.samples:,}" if hasattr(record, "samples") else "",
            str(attributes["data_sha256"])[:SHORT_HASH],
            f"{attributes['mode']}, {attributes['dtype']}",
            element("span", "inconclusive", class_="alarm") if record.trouble() else "yes",
            f"{attributes['wall_time_s']:.3g}",
        ]
        for label, one in zip(labels, results, strict=True)
        for name, record in one.records.items()
        for attributes in [one.groups[name].attributes]
    ]
    head = ["checkpoint", "analysis", "samples", "data hash", "mode, dtype", "conclusive", "seconds"]
    head = ["file", *head] if len(results) > 1 else head
    texts = [place for place, title in enumerate(head) if title not in ("samples", "seconds")]
    return table("Results of this page", head, rows, texts=texts)


def data_warning(labels: Sequence[str], results: Sequence[Results]) -> list[str]:
    """A sentence if the results are not all of the same data: which are of which."""
    groups: dict[str, list[str]] = {}
    for label, one in zip(labels, results, strict=True):
        for name in one.records:
            groups.setdefault(str(one.groups[name].attributes["data_sha256"]), []).append(f"{name} of {label}")
    if len(groups) < 2:
        return []
    return [f"data {digest[:SHORT_HASH]}: {', '.join(names)}" for digest, names in groups.items()]


def provenance(labels: Sequence[str], results: Sequence[Results]) -> Section:
    """For each file its checkpoint, and for each result everything that decided it."""
    parts = tuple(Section(label, _of_file(one)) for label, one in zip(labels, results, strict=True))
    return Section("Provenance", Html(), parts, listed=False)


def reproduction(results: Sequence[Results]) -> Section:
    """The versions to install, and a command for each result."""
    environments = {str(one.groups[name].attributes["environment"]): None for one in results for name in one.records}
    versions = [json.loads(text) for text in environments]
    machine = [f"Python {own.get('python')}, {own.get('platform')}, {own.get('processor')}" for own in versions]
    installs = [" ".join(["pip install", *_pins(own)]) for own in versions]
    commands = [command_of(name, one.groups[name].attributes) for one in results for name in one.records]
    content = [
        element("p", "Measured with ", join(machine, "; "), ". These commands measure the same again; the checkpoint's "
                "hash stands under Provenance, and the fingerprints of equal measurements are equal."),
        element("pre", join([*dict.fromkeys(installs), *dict.fromkeys(commands)], "\n"), tabindex="0"),
    ]  # fmt: skip
    return Section("How to reproduce", join(content))


def _pins(environment: Mapping[str, Any]) -> list[str]:
    """The packages with their versions; a build's own mark (+cpu) is no version of the registry."""
    others = ("python", "platform", "processor")
    return [
        f"{name}=={str(version).partition('+')[0]}"
        for name, version in environment.items()
        if name not in others and version != "none"
    ]


def _of_file(one: Results) -> Html:
    """The file and each of its results, folded."""
    unknown = [name for name in one.groups if name not in one.records]
    note = [f"The file also holds {', '.join(unknown)}, which this version does not know."] if unknown else []
    results = (_of_result(one, name) for name in one.records)
    return join([facts([("file", str(one.file))]), *(element("p", line) for line in note), *results])


def _of_result(one: Results, name: str) -> Html:
    """What decided a result: hashes, settings, options, conditions, and where model, data and loss came from."""
    attributes = one.groups[name].attributes
    read = {key: json.loads(str(attributes[key])) for key in ("options", "conditions", "resolved_from", "notes")}
    rows: list[tuple[object, object]] = [("checkpoint", str(attributes["checkpoint"]) or "none: measured in Python")]
    rows += [(title, element("code", attributes[key])) for key, title in HASHES.items() if key in attributes]
    rows += [(key.replace("_", " "), str(attributes[key])) for key in SETTINGS if key in attributes]
    rows += [(kind, source) for kind, source in read["resolved_from"].items()]
    rows.append(("options", _pairs(read["options"])))
    rows.append(("conditions", _pairs(read["conditions"])))
    parts = [facts(rows), items(read["notes"]), _checks(one.records[name])]
    return fold(f"{name}: {one.title(name)}", *parts)


def _pairs(values: Mapping[str, Any]) -> str:
    """Options as `name value`, without those that are not set."""
    given = {name: value for name, value in values.items() if value not in (None, [], "", False)}
    return ", ".join(f"{name} {_value(value)}" for name, value in given.items())


def _value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _checks(record: Any) -> Html:
    """The checks of the model, the loss and the data, with what they found."""
    lines = [element("li", f"{one.check}: {one.claim}: {one.verdict}; {one.found}") for one in record.checks]
    return fold(f"{len(lines)} checks of the model, the loss and the data", element("ul", *lines)) if lines else Html()
