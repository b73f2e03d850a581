"""The work of the pytest fixture: settings, measurement, baseline, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from landscape.conditions import Conditions
from landscape.errors import UsageError, suggest
from landscape.fields import Option, described_fields, translate_aliases
from landscape.gates.baseline import read_baseline
from landscape.gates.entry import Entry
from landscape.gates.measuring import MeasurementSetup, measure_entry
from landscape.gates.policy import Policy, parse_policy
from landscape.gates.verdict import Verdict, judge
from landscape.loading import load
from landscape.objective import Objective
from landscape.plugins import imports
from landscape.storage import paths
from landscape_cli import config
from landscape_cli.config import Settings
from landscape_cli.gate import CHECK, Gate, baseline_file, gate_analyses, gate_policy
from landscape_cli.settings_values import record_from_settings
from landscape_cli.update import missing_numbers, read_for_update, update_baseline


def check_checkpoints(
    pytest_config: pytest.Config,
    checkpoints: Sequence[Any],
    arguments: Mapping[str, Any],
    name: str | None,
    conditions: Mapping[str, Any],
) -> list[Verdict]:
    """The verdicts of paths, or of Objectives, which need a name; `arguments` are metrics, tol, kind and baseline."""
    if not checkpoints:
        raise UsageError("no checkpoint is named", fix="landscape_check(path)")
    settings = config.find(start=pytest_config.rootpath)
    gate = _gate_of_test(arguments, settings)
    policy = _policy_of_test(arguments, gate, settings)
    path = _baseline_of_test(pytest_config, arguments, gate, settings)
    updating = pytest_config.getoption("--landscape-update")
    # before anything is measured
    baseline = read_for_update(path, policy) if updating else read_baseline(path, policy.kind)
    test = MeasuredTest(policy, MeasurementSetup(gate_analyses(policy, settings)), settings, conditions)
    pairs = zip(checkpoints, _entry_names(checkpoints, name), strict=True)
    entries = [test.entry(checkpoint, entry_name) for checkpoint, entry_name in pairs]
    if updating:
        _write_baseline(path, policy, entries)
        if policy.kind == "retrained":  # the baseline's own checkpoints are no candidates
            return []
        baseline = read_baseline(path, policy.kind)
    # what other tests check is stale for this one
    return [verdict for verdict in judge(policy, baseline.entries, entries) if verdict.status != "stale"]


@dataclass(frozen=True)
class MeasuredTest:
    """How the checkpoints of one test are measured."""

    policy: Policy
    setup: MeasurementSetup
    settings: Settings
    conditions: Mapping[str, Any]

    def entry(self, checkpoint: Any, name: str) -> Entry:
        """The readings of an Objective or of a path, under a name.

        An entry under a name that the test has chosen has no path, so that the baseline must hold that name.
        """
        conditions = {key: value for key, value in self.conditions.items() if value is not None}
        if isinstance(checkpoint, Objective):
            if conditions:
                raise UsageError(
                    f"an Objective is measured as it is, without {', '.join(conditions)}", fix="give a path"
                )
            return replace(measure_entry(name, lambda: checkpoint, self.policy, self.setup), path="")
        if self.settings.path:
            imports.append_import_folder(self.settings.path.parent)
        chosen = self._conditions(conditions)
        entry = measure_entry(name, lambda: load(checkpoint, chosen), self.policy, self.setup)
        return entry if name == paths.short_names([str(checkpoint)])[0] else replace(entry, path="")

    def _conditions(self, arguments: Mapping[str, Any]) -> Conditions:
        """The conditions of the call, else those of the settings; raises UsageError for an unknown name."""
        arguments = translate_aliases(Conditions, arguments)
        known = {field.name for field in described_fields(Conditions, Option)}
        if unknown := sorted(arguments.keys() - known):
            raise UsageError(
                f"landscape_check takes no {suggest(unknown[0], known)}", fix=f"one of {', '.join(sorted(known))}"
            )
        values = _options_of(Conditions, self.settings.defaults(CHECK)) | arguments
        conditions: Conditions = record_from_settings(Conditions, values, "landscape_check")
        return conditions


def _gate_of_test(arguments: Mapping[str, Any], settings: Settings) -> Gate:
    """The gate's options: those of the test, else those of the settings."""
    own = {key: arguments[key] for key in ("tol", "kind") if key in arguments}
    if "metrics" in arguments and not isinstance(arguments["metrics"], Mapping):
        own["metric"] = list(arguments["metrics"])
    gate: Gate = record_from_settings(Gate, _options_of(Gate, settings.table(CHECK)) | own)
    return gate


def _policy_of_test(arguments: Mapping[str, Any], gate: Gate, settings: Settings) -> Policy:
    """The policy of the test's metrics, else that of the settings."""
    metrics = arguments.get("metrics")
    if metrics is not None and not metrics:
        raise UsageError("metrics names nothing", fix="leave it out for the policy's")
    if isinstance(metrics, Mapping):
        return parse_policy(gate.kind, metrics, tol=gate.tol, alpha=gate.alpha)
    return gate_policy(gate, settings)


def _baseline_of_test(
    pytest_config: pytest.Config, arguments: Mapping[str, Any], gate: Gate, settings: Settings
) -> Path:
    """The baseline's file: that of the test, else of pytest's command line, else of the settings."""
    folder = pytest_config.rootpath
    if "baseline" in arguments:
        return folder / str(arguments["baseline"])
    if chosen := pytest_config.getoption("--landscape-baseline"):
        return pytest_config.invocation_params.dir / str(chosen)
    return baseline_file(gate, settings, folder)


def _entry_names(checkpoints: Sequence[Any], name: str | None) -> list[str]:
    """The names of the checkpoints in the baseline."""
    if name is None:
        return paths.short_names([str(checkpoint) for checkpoint in checkpoints])
    return [name] if len(checkpoints) == 1 else [f"{name} {index}" for index in range(len(checkpoints))]


def _options_of(record: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a table that are options of the dataclass."""
    names = {field.name for field in described_fields(record, Option)}
    return {key: value for key, value in table.items() if key in names}


def _write_baseline(path: Path, policy: Policy, entries: Sequence[Entry]) -> None:
    """Adds the entries to the baseline; fails the test if a number is missing."""
    if missing := missing_numbers(policy, entries):
        checkpoint, metric, reason = missing[0]
        pytest.fail(f"not written: {metric} of {checkpoint}: {reason.why}\n  fix:  {reason.fix}", pytrace=False)
    update_baseline(path, policy, entries, keep=True)
