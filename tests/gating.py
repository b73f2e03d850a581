"""Entries as gates compare them, made without measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from landscape.gates.entry import Entry, Run
from landscape.gates.metric import Reading
from landscape.gates.policy import ComparisonKind, parse_policy
from landscape.gates.verdict import Verdict, judge

PARTS = {
    "analysis": "eig", "data": "d" * 64, "dtype": "float32", "k": 1, "loss": "cross_entropy", "mode": "eval",
    "parameters": "p", "schema": 1, "seed": 0, "tol": 1e-3, "weights": "w" * 64,
}  # fmt: skip
METRIC = "eig.eigenvalues[0]"


def run(loss: float = 0.1, /, **changes: Any) -> Run:
    """A run of `eig`; changes are of the fingerprint."""
    return Run("eig", {**PARTS, **changes}, loss, 100, (), "cpu", {"torch": "2.13.0", "processor": "x86_64"})


def entry(value: float = 3.0, name: str = "a.pt", of: Run | None = None, **about: Any) -> Entry:
    """One checkpoint's reading of lambda 1, to 1e-4 unless told otherwise."""
    reading = Reading(value, **{"error": 1e-4, **about})
    return Entry(name, "s" * 64, {"eig": of or run()}, {METRIC: reading}, path=name)


def seeds(values: list[float], loss: float = 0.1, **changes: Any) -> list[Entry]:
    """Retrained checkpoints, each with weights of its own."""
    made = [run(loss, weights=f"{value}/{index}/{len(values)}", **changes) for index, value in enumerate(values)]
    return [entry(value, f"seed-{i}.pt", one) for i, (value, one) in enumerate(zip(values, made, strict=True))]


def with_reading(one: Entry, **changes: Any) -> Entry:
    """The entry with another reading."""
    return replace(one, readings={METRIC: replace(one.readings[METRIC], **changes)})


def verdicts(
    baseline: Entry | Sequence[Entry],
    candidate: Entry | Sequence[Entry],
    kind: ComparisonKind = "same-weights",
    rule: Any = "1%",
) -> list[Verdict]:
    """The verdicts on the metric of these entries, by a rule that allows 1 % unless told otherwise."""
    groups = [[one] if isinstance(one, Entry) else list(one) for one in (baseline, candidate)]
    return judge(parse_policy(kind, {METRIC: rule}), *groups)


def verdict(*args: Any, **kwargs: Any) -> Verdict:
    """The only verdict on the metric."""
    (only,) = (found for found in verdicts(*args, **kwargs) if found.metric == METRIC)
    return only


def loss_verdict(*args: Any, **kwargs: Any) -> Verdict:
    """The only verdict on the loss."""
    (only,) = (found for found in verdicts(*args, **kwargs) if found.metric == "loss")
    return only
