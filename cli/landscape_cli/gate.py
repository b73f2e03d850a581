"""The gate's own options, and what they make of the settings: its policy, its analyses and its baseline file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import ANALYSES, Analysis
from landscape.fields import option, validate
from landscape.gates.policy import (
    DEFAULT_METRICS,
    DEFAULT_OPTIONS,
    FALSE_ALARM_ALPHA,
    ComparisonKind,
    Policy,
    parse_policy,
)
from landscape.storage.paths import BASELINE
from landscape_cli.output import Writing
from landscape_cli.settings_values import record_from_settings

if TYPE_CHECKING:
    from landscape_cli.config import Settings

CHECK = "check"  # the command, and its table in the settings
METRIC_TABLE = "metrics"  # of [check]: rules by metric


@dataclass(frozen=True)
class Gate(Writing):
    """Options of `landscape check`: the kind of comparison, the baseline, the metrics, and the reports."""

    kind: ComparisonKind = option(
        "same-weights", help="Whether candidates should be the same net (one value each), or new training runs."
    )
    baseline: str | None = option(
        None,
        kind="path",
        help=f"The baseline's file; default {BASELINE} beside the settings, or here if there are none.",
    )
    metric: tuple[str, ...] = option(
        (), help="Check this number, not the policy's, e.g. eig.eigenvalues[0]. Repeatable.", typed=True
    )
    tol: str | None = option(None, help="Allowed change: 2%, or '0.05 abs'. Default 2%; retrained: 25%.")
    alpha: float = option(
        FALSE_ALARM_ALPHA, help="Chance of a false alarm for each metric, retrained.", min=1e-9, max=0.49
    )
    against: tuple[str, ...] = option(
        (), help="Compare with this checkpoint, results file or baseline instead. Repeatable.", typed=True
    )
    from_: tuple[str, ...] = option((), help="Judge these results, measured before. Repeatable.", typed=True)
    update: bool = option(False, help="Write the measured numbers to the baseline; not in CI.", typed=True)
    calibrate: int | None = option(
        None,
        help="Measure with so many seeds, and print the smallest change that stands out of the noise.",
        min=2,
        typed=True,
    )
    list_: bool = option(False, help="Print the numbers that can be checked, with advice.", typed=True)
    format: tuple[str, ...] = option(
        (), help="text, json, github, junit, markdown or html; junit=FILE writes it there. Repeatable. Default text."
    )
    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.check.landscape.h5 beside it.",
        short="o",
    )

    def __post_init__(self) -> None:
        validate(self)


def gate_policy(gate: Gate, settings: Settings) -> Policy:
    """The policy of the flags and the settings; raises UsageError.

    Metrics of the settings that --metric does not name are off, so that they do not count as stale.
    """
    metrics = settings.table(CHECK).get(METRIC_TABLE, dict.fromkeys(DEFAULT_METRICS[gate.kind], "error"))
    if gate.metric:
        named = {name: metrics.get(name, "error") for name in gate.metric}
        metrics = {**named, **dict.fromkeys(metrics.keys() - named.keys(), "off")}
    return parse_policy(gate.kind, metrics, tol=gate.tol, alpha=gate.alpha)


def gate_analyses(policy: Policy, settings: Settings) -> list[Analysis]:
    """The analyses that the policy needs, with the options of `[check.<analysis>]`, or a gate's usual ones."""
    kinds = {analysis.name: analysis for analysis in ANALYSES}
    tables = {name: {**DEFAULT_OPTIONS.get(name, {}), **settings.table(CHECK, name)} for name in policy.analyses}
    return [record_from_settings(kinds[name], table, f"[check.{name}]") for name, table in tables.items()]


def baseline_file(gate: Gate, settings: Settings, folder: Path) -> Path:
    """The baseline's path: as configured (relative to `folder`), else next to the settings file, else in `folder`."""
    if gate.baseline is not None:
        return folder / gate.baseline
    return (settings.path.parent if settings.path else folder) / BASELINE
