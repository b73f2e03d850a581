"""The policy of a gate: which metrics are compared, how much each may change, and whether a change is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from landscape.errors import UsageError, safe_excerpt, suggest
from landscape.gates.metric import Metric
from landscape.gates.tolerance import Tolerance

ComparisonKind = Literal["same-weights", "retrained"]
Level = Literal["error", "warn", "off"]
RuleDirection = Literal["increase", "decrease", "both"]

FALSE_ALARM_ALPHA = 0.01  # chance of a false alarm for each metric of a retrained comparison
# same weights: a round trip of parameters through bf16 moves most samples by less, a net that is 3 % sharper is found;
# retrained: docs/check.md has the rates of false alarms
DEFAULT_TOLERANCES: Mapping[str, str] = {"same-weights": "2%", "retrained": "25%"}
# s_max spreads by 26 to 35 % between seeds: retrained, it finds no change and raises nine tenths of the false alarms
DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = {
    "same-weights": ("eig.eigenvalues[0]", "trace.trace", "sharpness.s_avg[0]", "sharpness.s_max[0]"),
    "retrained": ("eig.eigenvalues[0]", "trace.trace", "sharpness.s_avg[0]"),
}
# Options of a gate's measurements; few draws are enough, since the candidate shares them with the baseline. Sizes that
# a budget would decide are given: a baseline must not depend on what a budget buys.
DEFAULT_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "eig": {"k": 1},
    "trace": {"rtol": 0.05},
    "sharpness": {"norm": "linf", "average_rho": [0.2], "starts": 5},
    "density": {"probes": 8, "steps": 64},
    "memorization": {"controls": 2, "per_layer": True},
}
DIRECTION_KEYS: Mapping[str, RuleDirection] = {
    "max_increase": "increase",
    "max_decrease": "decrease",
    "max_change": "both",
}


@dataclass(frozen=True)
class Rule:
    """How much one metric may change, and in which direction; a metric with `level` off is not measured."""

    tolerance: Tolerance
    level: Level = "error"
    direction: RuleDirection = "increase"
    alpha: float = FALSE_ALARM_ALPHA


@dataclass(frozen=True)
class Policy:
    """The rules by metric, and the kind of comparison."""

    kind: ComparisonKind = "same-weights"
    rules: Mapping[Metric, Rule] = field(default_factory=dict)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics to measure."""
        return [metric for metric, rule in self.rules.items() if rule.level != "off"]

    @property
    def analyses(self) -> list[str]:
        """The analyses that give the metrics, in the metrics' order."""
        return list(dict.fromkeys(metric.analysis for metric in self.metrics))


def parse_policy(
    kind: ComparisonKind = "same-weights",
    metrics: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    tol: str | None = None,
    alpha: float = FALSE_ALARM_ALPHA,
) -> Policy:
    """The policy of a settings' table, of a list of names, or of the default metrics.

    `tol` and `alpha` hold for metrics without values of their own.

    A metric's value is "error", "warn" or "off", a tolerance such as "2%", or a table of `level`, `alpha` and one of
    `max_increase`, `max_decrease` and `max_change`. Raises UsageError.
    """
    default = Rule(Tolerance.parse(DEFAULT_TOLERANCES[kind] if tol is None else tol), alpha=alpha)
    named = DEFAULT_METRICS[kind] if metrics is None else metrics
    values = named if isinstance(named, Mapping) else dict.fromkeys(named, "error")
    rules: dict[Metric, Rule] = {}
    for name, value in values.items():
        metric = Metric.parse(name)
        if metric in rules:
            raise UsageError(f"{metric} is named twice", fix="one rule for each metric")
        rules[metric] = _parse_rule(name, value, default)
        if kind == "retrained" and rules[metric].direction == "decrease" and rules[metric].tolerance.share >= 1:
            raise UsageError(f"{name}: no value falls by {rules[metric].tolerance}", fix="a max_decrease below 100%")
    policy = Policy(kind, rules)
    if not policy.metrics:
        raise UsageError("no metric is checked", fix=f"name one: {DEFAULT_METRICS[kind][0]}")
    return policy


def _parse_rule(name: str, value: Any, usual: Rule) -> Rule:
    if isinstance(value, str):
        return _with_level(name, value, usual) if value in get_args(Level) else _with_tolerance(name, value, usual)
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{name} = {safe_excerpt(value)}", fix='"error", "warn", "off", "2%", or { max_increase = "2%" }'
        )
    known = {"level", "alpha", *DIRECTION_KEYS}
    value = {str(key).replace("-", "_"): inner for key, inner in value.items()}
    for key in value:
        if key not in known:
            raise UsageError(
                f"{name} has no {suggest(safe_excerpt(key), known)}", fix=f"one of {', '.join(sorted(known))}"
            )
    bounds = [key for key in DIRECTION_KEYS if key in value]
    if len(bounds) > 1:
        raise UsageError(f"{name} has {' and '.join(bounds)}", fix="max_change for both directions")
    rule = _with_level(name, value.get("level", "error"), usual)
    if bounds:
        rule = replace(_with_tolerance(name, value[bounds[0]], rule), direction=DIRECTION_KEYS[bounds[0]])
    alpha = value.get("alpha", usual.alpha)
    if not isinstance(alpha, float | int) or isinstance(alpha, bool) or not 0 < alpha < 0.5:
        raise UsageError(f"{name} has alpha = {safe_excerpt(alpha)}", fix="a number between 0 and 0.5")
    return replace(rule, alpha=float(alpha))


def _with_level(name: str, level: Any, rule: Rule) -> Rule:
    if level not in get_args(Level):
        raise UsageError(f"{name} has level = {safe_excerpt(level)!r}", fix=f"one of {', '.join(get_args(Level))}")
    return replace(rule, level=level)


def _with_tolerance(name: str, text: Any, rule: Rule) -> Rule:
    try:
        return replace(rule, tolerance=Tolerance.parse(text))
    except UsageError as error:
        raise UsageError(f"{name}: {error.what}", fix=error.fix) from None
