"""`landscape check --update`: what was measured becomes the baseline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from landscape.errors import UsageError
from landscape.gates import baseline, not_comparable
from landscape.gates.baseline import Baseline
from landscape.gates.entry import Entry
from landscape.gates.not_comparable import NotComparable
from landscape.gates.policy import Policy
from landscape_cli.columns import Column

CI_VARIABLES = ("CI", "TF_BUILD", "TEAMCITY_VERSION", "JENKINS_URL", "CODEBUILD_BUILD_ID")  # each service sets one
FALSE_VALUES = ("", "0", "false", "no")  # values of such a variable outside CI
UPDATE_COLUMNS = (Column("checkpoint"), Column("metric"), Column.of_numbers("baseline"), Column.of_numbers("value"))
MissingNumber = tuple[str, str, NotComparable]  # a checkpoint, a metric, and why it has no number


def require_no_ci() -> None:
    """Raises UsageError in CI, where an update would make every check pass."""
    found = [
        f"{name}={os.environ[name]}" for name in CI_VARIABLES if os.environ.get(name, "").lower() not in FALSE_VALUES
    ]
    if found:
        raise UsageError(
            "a baseline is not updated in CI, where every check would then pass",
            why=f"the environment has {found[0]}",
            fix="update it on your own machine and commit it",
        )


def missing_numbers(policy: Policy, entries: Sequence[Entry]) -> list[MissingNumber]:
    """The numbers that the baseline would lack; it is written only if there are none."""
    checks = [
        (entry, metric, not_comparable.missing_reading(metric, "candidate", entry))
        for entry in entries
        for metric in policy.metrics
    ]
    missing = [(entry.name, str(metric), reason) for entry, metric, reason in checks if reason]
    if missing or policy.kind != "retrained":
        return missing
    together = [(metric, not_comparable.too_few_checkpoints(metric, "baseline", entries)) for metric in policy.metrics]
    return [(f"{len(entries)} checkpoints", str(metric), reason) for metric, reason in together if reason]


def read_for_update(path: Path, policy: Policy) -> Baseline:
    """The baseline to be updated, empty if there is no file; raises UsageError if it is of another kind."""
    if not os.path.lexists(path):
        return Baseline(policy.kind, [])
    present = baseline.read_baseline(path)
    if present.kind != policy.kind:
        raise UsageError(
            f"{path} is a baseline for --kind {present.kind}, which would be lost",
            fix="--baseline FILE: one for each kind",
        )
    return present


def update_baseline(
    path: Path, policy: Policy, entries: Sequence[Entry], *, keep: bool = False
) -> Mapping[tuple[str, str], float]:
    """Writes the entries to the baseline, and returns its earlier values by checkpoint and metric.

    With `keep`, other metrics of the same checkpoints stay.
    """
    require_no_ci()
    kept = read_for_update(path, policy)
    baseline.write_baseline(path, kept.merge_entries(entries) if keep else kept.replace_entries(entries))
    return {(entry.name, name): reading.value for entry in kept.entries for name, reading in entry.readings.items()}


def print_update(entries: Sequence[Entry], before: Mapping[tuple[str, str], float]) -> None:
    """Prints the new values of the baseline beside the earlier ones."""
    from landscape_cli.tables import print_grid

    rows = []
    for entry in entries:
        for metric, reading in entry.readings.items():
            earlier = before.get((entry.name, metric))
            rows.append((entry.name, metric, "" if earlier is None else f"{earlier:.6g}", f"{reading.value:.6g}"))
    print_grid(UPDATE_COLUMNS, rows)
