"""What the pytest fixture does when it is called: settings, measurement, baseline, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landscape.conditions import Conditions
from landscape.errors import UsageError, suggest
from landscape.fields import Option, described_fields
from landscape.gates import baseline
from landscape.gates import measuring as checking
from landscape.gates.entry import Entry, short_names
from landscape.gates.policy import Policy
from landscape.gates.policy import parse_policy as table
from landscape.gates.verdict import Verdict, judge
from landscape.loading import load
from landscape.objective import Objective
from landscape.plugins import imports
from landscape_cli import config, options, update
from landscape_cli.config import Settings
from landscape_cli.config_tables import CHECK
from landscape_cli.gate import Gate
from landscape_cli.policies import baseline_file, measurements, rules


def checked(
    pytest_config: pytest.Config,
    checkpoints: Sequence[Any],
    given: Mapping[str, Any],
    name: str | None,
    conditions: Mapping[str, Any],
) -> list[Verdict]:
    """The verdicts of paths, or of Objectives, which need a name; `given` are metrics, tol and kind of the test."""
    if not checkpoints:
        raise UsageError("no checkpoint is named", fix="landscape_check(path)")
    settings = config.find(start=pytest_config.rootpath)
    gate = _gate(given, settings)
    own = given.get("metrics")
    if own is not None and not own:
        raise UsageError("metrics names nothing", fix="leave it out for the policy's")
    policy = (
        table(gate.kind, own, tol=gate.tol, alpha=gate.alpha) if isinstance(own, Mapping) else rules(gate, settings)
    )
    chosen = pytest_config.getoption("--landscape-baseline")
    path = baseline_file(gate, settings, pytest_config.rootpath)
    if chosen:
        path = pytest_config.invocation_params.dir / chosen
    if "baseline" in given:
        path = pytest_config.rootpath / given["baseline"]
    updating = pytest_config.getoption("--landscape-update")
    earlier = (
        update.earlier(path, policy) if updating else baseline.read_baseline(path, policy.kind)
    )  # before it is measured
    work = checking.MeasurementSetup(measurements(policy, settings))
    pairs = zip(checkpoints, _names(checkpoints, name), strict=True)
    entries = [_entry(*pair, policy, work, settings, conditions) for pair in pairs]
    if updating:
        _update(path, policy, entries)
        if policy.kind == "retrained":  # the baseline's own checkpoints are no candidates
            return []
        earlier = baseline.read_baseline(path, policy.kind)
    return [one for one in judge(policy, earlier.entries, entries) if one.status != "stale"]  # other tests check them


def _gate(given: Mapping[str, Any], settings: Settings) -> Gate:
    """The gate's options: given in the test, else in the settings."""
    chosen = _known(Gate, settings.table(CHECK)) | {key: given[key] for key in ("tol", "kind") if key in given}
    if "metrics" in given and not isinstance(given["metrics"], Mapping):
        chosen["metric"] = list(given["metrics"])
    gate: Gate = options.configured(Gate, chosen)
    return gate


def _names(checkpoints: Sequence[Any], name: str | None) -> list[str]:
    """What the checkpoints are called in the baseline."""
    if name is None:
        return short_names([str(one) for one in checkpoints])
    return [name] if len(checkpoints) == 1 else [f"{name} {index}" for index in range(len(checkpoints))]


def _entry(
    checkpoint: Any,
    name: str,
    policy: Policy,
    work: checking.MeasurementSetup,
    settings: Settings,
    conditions: Mapping[str, Any],
) -> Entry:
    conditions = {key: value for key, value in conditions.items() if value is not None}
    if isinstance(checkpoint, Objective) and conditions:
        raise UsageError(f"an Objective is measured as it is, without {', '.join(conditions)}", fix="give a path")
    if isinstance(checkpoint, Objective):
        return replace(checking.measure_entry(name, lambda: checkpoint, policy, work), path="")
    if settings.path:
        imports.append_import_folder(settings.path.parent)
    known = {field.name for field in described_fields(Conditions, Option)}
    if unknown := sorted(conditions.keys() - known):
        raise UsageError(
            f"landscape_check takes no {suggest(unknown[0], known)}", fix=f"one of {', '.join(sorted(known))}"
        )
    wanted = _known(Conditions, settings.defaults(CHECK)) | dict(conditions)
    settled = options.configured(Conditions, wanted, "landscape_check")
    found = checking.measure_entry(name, lambda: load(checkpoint, settled), policy, work)
    return (
        found if name == short_names([str(checkpoint)])[0] else replace(found, path="")
    )  # a chosen name must be there


def _known(kind: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """What of a table are options of the dataclass."""
    names = {field.name for field in described_fields(kind, Option)}
    return {key: value for key, value in table.items() if key in names}


def _update(path: Path, policy: Policy, entries: Sequence[Entry]) -> None:
    """Adds to the baseline; fails the test if a number is missing."""
    if found := update.missing(policy, entries):
        checkpoint, metric, reason = found[0]
        pytest.fail(f"not written: {metric} of {checkpoint}: {reason.why}\n  fix:  {reason.fix}", pytrace=False)
    update.write(path, policy, entries, keep=True)
