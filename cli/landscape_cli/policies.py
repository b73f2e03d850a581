"""A gate's policy and measurements, from flags and settings."""

from __future__ import annotations

from pathlib import Path

from landscape.analyses import ANALYSES, Analysis
from landscape.gates.policy import DEFAULT_METRICS, DEFAULT_OPTIONS, Policy, parse_policy
from landscape.storage.paths import BASELINE
from landscape_cli import options
from landscape_cli.config import Settings
from landscape_cli.config_tables import CHECK
from landscape_cli.gate import METRIC_TABLE, Gate

KINDS = {analysis.name: analysis for analysis in ANALYSES}


def rules(gate: Gate, settings: Settings) -> Policy:
    """The policy of the flags and the settings; raises UsageError."""
    metrics = settings.table(CHECK).get(METRIC_TABLE, dict.fromkeys(DEFAULT_METRICS[gate.kind], "error"))
    if gate.metric:  # the others are not stale for that
        chosen = {name: metrics.get(name, "error") for name in gate.metric}
        metrics = {**chosen, **dict.fromkeys(metrics.keys() - chosen.keys(), "off")}
    return parse_policy(gate.kind, metrics, tol=gate.tol, alpha=gate.alpha)


def baseline_file(gate: Gate, settings: Settings, folder: Path) -> Path:
    """Where the baseline is: where it is said to be, from `folder`; else beside the settings, else in the folder."""
    if gate.baseline is not None:
        return folder / gate.baseline
    return (settings.path.parent if settings.path else folder) / BASELINE


def measurements(chosen: Policy, settings: Settings) -> list[Analysis]:
    """The analyses that the policy needs, with the options of `[check.<analysis>]`, or a gate's usual ones."""
    return [
        options.configured(
            KINDS[name], {**DEFAULT_OPTIONS.get(name, {}), **settings.table(CHECK, name)}, f"[check.{name}]"
        )
        for name in chosen.analyses
    ]
