"""The baseline's file: JSON that the gate writes and people review, sorted, with one metric a line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from landscape.errors import OutputError, UsageError
from landscape.gates.entry import Entry, Run
from landscape.gates.metric import Reading, current_name
from landscape.gates.policy import ComparisonKind
from landscape.storage import paths
from landscape.storage.atomic_files import replace_file
from landscape.storage.bounded import read_bounded
from landscape.storage.drafts import remove_stale_drafts

BASELINE_SCHEMA = 1
MAX_BASELINE_BYTES = 1 << 26  # an entry of a checkpoint has some thousands
BASELINE_DIGITS = 8  # significant: more than float32 has, and few enough to read
DAMAGED_FIX = "restore it, or remove it: landscape check CKPT --update then writes it anew"
DAMAGE_ERRORS = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
)  # raised by code below for a document of another form


@dataclass(frozen=True)
class Baseline:
    """The entries that candidates are compared with, and the kind of comparison that they were written for."""

    kind: ComparisonKind
    entries: Sequence[Entry]

    def replace_entries(self, entries: Sequence[Entry]) -> Baseline:
        """The baseline with these entries in the place of entries of the same names; if retrained, of all entries."""
        names = {entry.name for entry in entries}
        kept = [] if self.kind == "retrained" else [entry for entry in self.entries if entry.name not in names]
        return replace(self, entries=[*kept, *entries])

    def merge_entries(self, entries: Sequence[Entry]) -> Baseline:
        """The baseline with these entries, whose metrics are added to those of earlier entries of the same names.

        Earlier metrics of another run of the same analysis are dropped: they would seem to be part of the new run.
        """
        earlier = {entry.name: entry for entry in self.entries}
        merged = [_merge_entry(earlier.get(entry.name, entry), entry) for entry in entries]
        if self.kind == "retrained" and earlier.keys() != {entry.name for entry in entries}:
            return replace(self, entries=entries)
        return replace(self, entries=list({**earlier, **{entry.name: entry for entry in merged}}.values()))


def _merge_entry(earlier: Entry, entry: Entry) -> Entry:
    """The entry with the earlier readings of other analyses, or of the same run of the same analysis."""
    kept = {
        metric: reading
        for metric, reading in earlier.readings.items()
        if (analysis := metric.partition(".")[0]) not in entry.runs
        or earlier.runs[analysis].fingerprint == entry.runs[analysis].fingerprint
    }
    return replace(entry, readings={**kept, **entry.readings}, runs={**earlier.runs, **entry.runs})


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Replaces the file as a whole or not at all; raises OutputError if it cannot be written, or holds no baseline."""
    if os.path.lexists(path):
        read_baseline(path)  # raises if it is no baseline, so that no other file is overwritten
    remove_stale_drafts(path.parent, paths.drafts_of(path))
    replace_file(path, ("\n".join(_lines(baseline)) + "\n").encode())


def read_baseline(path: Path, kind: ComparisonKind | None = None) -> Baseline:
    """The baseline in a file; raises OutputError if it is missing or damaged, UsageError if it is of another kind."""
    if not os.path.lexists(path):
        raise OutputError(
            f"there is no baseline {path}", fix="is it committed? landscape check CKPT --update writes it"
        )
    try:
        text = read_bounded(path, MAX_BASELINE_BYTES).decode()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}", fix="--baseline FILE names another") from error
    except UnicodeDecodeError as error:
        raise OutputError(f"{path} is not a baseline: {error}", fix=DAMAGED_FIX) from error
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} is not a baseline: {error}", fix=DAMAGED_FIX) from error
    try:
        baseline = _baseline(document, path)
    except DAMAGE_ERRORS as error:
        raise OutputError(f"{path} is not a baseline: {type(error).__name__} {error}", fix=DAMAGED_FIX) from error
    if kind is not None and baseline.kind != kind:
        raise UsageError(
            f"{path} was written for --kind {baseline.kind}, and this is {kind}",
            fix=f"--kind {baseline.kind}, or --baseline FILE: one for each kind",
        )
    return baseline


# -- to text -------------------------------------------------------------------------------------------------------


def _lines(baseline: Baseline) -> Iterator[str]:
    yield "{"
    yield f'  "kind": {json.dumps(baseline.kind)},'
    yield f'  "schema": {BASELINE_SCHEMA},'
    yield '  "checkpoints": {'
    ordered = sorted(baseline.entries, key=lambda entry: entry.name)

    def kept(reading: Reading) -> Reading:  # retrained checkpoints share no draws that would mean anything
        return reading if baseline.kind == "same-weights" else replace(reading, draws=())

    for index, entry in enumerate(ordered):
        yield f"    {json.dumps(entry.name)}: {{"
        yield from _table("metrics", {name: _reading(kept(reading)) for name, reading in entry.readings.items()})
        yield from _table("runs", {name: _run(run) for name, run in entry.runs.items()})
        yield f'      "sha256": {json.dumps(entry.sha256)}'
        yield "    }" + "," * (index < len(ordered) - 1)
    yield "  }"
    yield "}"


def _table(name: str, rows: Mapping[str, Any]) -> Iterator[str]:
    yield f'      "{name}": {{'
    lines = [
        f"        {json.dumps(key)}: {json.dumps(rows[key], sort_keys=True, allow_nan=False)}" for key in sorted(rows)
    ]
    yield from (line + "," for line in lines[:-1])
    yield from lines[-1:]
    yield "      },"


def _reading(reading: Reading) -> dict[str, Any]:
    row: dict[str, Any] = {"value": _round_to_digits(reading.value)}
    if reading.error is not None:
        row["error"] = _round_to_digits(reading.error)
    if reading.draws:
        row["draws"] = [_round_to_digits(draw) for draw in reading.draws]
    row |= {name: _round_to_digits(getattr(reading, name)) for name in ("floor", "asked") if getattr(reading, name)}
    if reading.not_unique:
        row["ambiguous"] = reading.not_unique
    return row


def _run(run: Run) -> dict[str, Any]:
    return {
        **asdict(run),
        "loss": _round_to_digits(run.loss) if math.isfinite(run.loss) else None,
        "params": list(run.params),
    }


def _round_to_digits(value: float) -> float:
    return float(f"{value:.{BASELINE_DIGITS}g}")


# -- from text -----------------------------------------------------------------------------------------------------


def _baseline(document: Any, path: Path) -> Baseline:
    if not isinstance(document["schema"], int) or document["schema"] < 1:
        raise ValueError(f"schema {document['schema']!r}")
    if document["schema"] > BASELINE_SCHEMA:
        raise OutputError(f"{path} was written by a newer landscape", fix="upgrade loss-landscape-geometry")
    if document["kind"] not in get_args(ComparisonKind):
        raise ValueError(f"kind {document['kind']!r}")
    return Baseline(document["kind"], [_entry(name, held) for name, held in document["checkpoints"].items()])


def _entry(name: str, table: Mapping[str, Any]) -> Entry:
    runs = {analysis: _as_run(analysis, run) for analysis, run in table["runs"].items()}
    readings = {current_name(metric): _as_reading(reading) for metric, reading in table["metrics"].items()}
    lacking = [metric for metric in readings if metric.partition(".")[0] not in runs]
    if lacking:
        raise ValueError(f"{lacking[0]} has no run")
    return Entry(name, str(table["sha256"]), runs, readings)


def _as_run(analysis: str, table: Mapping[str, Any]) -> Run:
    values = {field.name: table[field.name] for field in fields(Run)}
    if values["analysis"] != analysis:
        raise ValueError(f"the run of {analysis} is of {values['analysis']!r}")
    wrong = [name for name in ("fingerprint", "environment") if not isinstance(values[name], dict)]
    if wrong or not isinstance(values["device"], str):
        raise ValueError(f"{(*wrong, 'device')[0]} of {analysis}")
    loss = math.nan if table["loss"] is None else float(table["loss"])
    return Run(**{**values, "loss": loss, "parameters": int(table["parameters"]), "params": tuple(table["params"])})


def _as_reading(table: Mapping[str, Any]) -> Reading:
    unknown = table.keys() - {"value", "error", "draws", "floor", "asked", "ambiguous"}
    if unknown:
        raise ValueError(f"a metric has {sorted(unknown)[0]!r}")
    return Reading(
        _finite(table["value"]),
        _positive(table["error"]) if "error" in table else None,
        tuple(_finite(draw) for draw in table.get("draws", ())),
        _positive(table.get("floor", 0.0)),
        _positive(table.get("asked", 0.0)),
        not_unique=str(table.get("ambiguous", "")),
    )


def _finite(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"{number!r} is no number")
    return float(number)


def _positive(number: Any) -> float:
    if _finite(number) < 0:
        raise ValueError(f"{number!r} is below 0")
    return float(number)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, if no key stands in it twice, as after a bad merge; else raises ValueError."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError(f"{next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1)!r} stands twice")
    return table


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"it holds {constant}")
