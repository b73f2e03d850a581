"""The judgement: every metric of every candidate beside its baseline, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from landscape.errors import EXIT_INCONCLUSIVE, EXIT_REGRESSION
from landscape.gates import not_comparable, retrained, same_weights
from landscape.gates.comparison import Comparison
from landscape.gates.entry import Entry
from landscape.gates.metric import Metric
from landscape.gates.not_comparable import UPDATE_FIX, NotComparable
from landscape.gates.policy import Policy, Rule

Status = Literal["pass", "improvement", "warning", "stale", "regression", "inconclusive"]
T = TypeVar("T")
BASELINE_ROUNDING = 1e-7  # relative: a baseline has eight digits


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric: its numbers as far as they are known, the reason, and what to do."""

    metric: str
    checkpoint: str
    status: Status
    why: str = ""
    fix: str = ""
    rule: Rule | None = None
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()

    def without_comparison(self, reason: NotComparable) -> Verdict:
        """The verdict for readings that cannot be compared."""
        return replace(self, status="inconclusive", why=reason.why, fix=reason.fix)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """1 if anything regressed, else 3 if anything is inconclusive, else 0."""
    statuses = {verdict.status for verdict in verdicts}
    if "regression" in statuses:
        return EXIT_REGRESSION
    return EXIT_INCONCLUSIVE if "inconclusive" in statuses else 0


def judge(
    policy: Policy, baseline: Sequence[Entry], candidates: Sequence[Entry], *, one_for_all: bool = False
) -> list[Verdict]:
    """A verdict for every metric of every candidate (of all candidates together if retrained), then the stale metrics.

    With `one_for_all`, candidates of any name are compared with the baseline's only entry.
    """
    checked = [(metric, rule) for metric, rule in policy.rules.items() if rule.level != "off"]
    if policy.kind == "retrained":
        verdicts = [judge_group(metric, rule, baseline, candidates) for metric, rule in checked]
        compared = list(baseline)
    else:
        alone = one_for_all or len(candidates) == 1
        pairs = [(baseline_entry(candidate, baseline, alone=alone), candidate) for candidate in candidates]
        verdicts = [judge_one(*item, earlier, candidate) for earlier, candidate in pairs for item in checked]
        compared = [earlier for earlier, _ in pairs if earlier is not None]
    return [*map(_apply_level, verdicts), *_stale_verdicts(policy, compared)]


def baseline_entry(candidate: Entry, baseline: Sequence[Entry], *, alone: bool) -> Entry | None:
    """The baseline's entry whose name is the candidate's, or the end of its path.

    If there is none, a candidate that is `alone` and has no chosen name is compared with the baseline's only entry.
    """
    named = [earlier for earlier in baseline if _names_match(candidate, earlier)]
    if not named and alone and candidate.path and len(baseline) == 1:
        return baseline[0]
    return max(named, key=lambda earlier: len(earlier.name), default=None)


def _names_match(candidate: Entry, earlier: Entry) -> bool:
    return candidate.name == earlier.name or f"/{candidate.path}".endswith(f"/{earlier.name}")


def judge_one(metric: Metric, rule: Rule, earlier: Entry | None, candidate: Entry) -> Verdict:
    """The verdict of the same-weights rule."""
    name = str(metric)
    verdict = Verdict(name, candidate.name, "inconclusive", rule=rule)
    groups = {"candidate": candidate, "baseline": earlier}
    if reason := _first_reason(not_comparable.missing_reading(metric, group, entry) for group, entry in groups.items()):
        return verdict.without_comparison(reason)
    assert earlier is not None
    mine, theirs = candidate.runs[metric.analysis], earlier.runs[metric.analysis]
    if reason := _first_reason(
        check(mine, theirs) for check in (not_comparable.different_measurements, not_comparable.different_losses)
    ):
        return verdict.without_comparison(reason)
    readings = earlier.readings[name], candidate.readings[name]
    other = [] if _names_match(candidate, earlier) else [f"compared with {earlier.name}, the only one of the baseline"]
    notes = (*other, *mine.remarks(theirs))
    compared = replace(verdict, comparison=same_weights.compare_same_weights(*readings, rule), notes=notes)
    return _decide(compared, next((reading.not_unique for reading in readings if reading.not_unique), ""))


def judge_group(metric: Metric, rule: Rule, baseline: Sequence[Entry], candidates: Sequence[Entry]) -> Verdict:
    """The verdict of the rule for retrained checkpoints."""
    name = str(metric)
    verdict = Verdict(name, f"{len(candidates)} checkpoints", "inconclusive", rule=rule)
    groups = {"candidate": candidates, "baseline": baseline}
    every = [(group, entry) for group, entries in groups.items() for entry in entries]
    if reason := _first_reason(not_comparable.missing_reading(metric, group, entry) for group, entry in every):
        return verdict.without_comparison(reason)
    if reason := _first_reason(
        not_comparable.too_few_checkpoints(metric, group, entries) for group, entries in groups.items()
    ):
        return verdict.without_comparison(reason)
    if reason := not_comparable.baseline_among_candidates(metric, baseline, candidates):
        return verdict.without_comparison(reason)
    mine, theirs = ([entry.runs[metric.analysis] for entry in entries] for entries in groups.values())
    if reason := _first_reason(
        not_comparable.different_measurements(run, theirs[0], trained=True) for run in (*mine, *theirs)
    ):
        return verdict.without_comparison(reason)
    if reason := not_comparable.different_mean_losses(mine, theirs):
        return verdict.without_comparison(reason)
    earlier, now = ([entry.readings[name].value for entry in entries] for entries in (baseline, candidates))
    notes = tuple(dict.fromkeys(remark for run in mine for remark in run.remarks(theirs[0])))
    compared = replace(verdict, comparison=retrained.compare_retrained(earlier, now, rule), notes=notes)
    return _decide(compared, _first_reason(entry.readings[name].not_unique for _, entry in every) or "")


def _first_reason(reasons: Iterable[T]) -> T | None:
    """The first reason that is not None; later ones are not computed."""
    return next(filter(None, reasons), None)


def _decide(verdict: Verdict, not_unique: str) -> Verdict:
    """The verdict of a comparison that was made."""
    comparison, rule = verdict.comparison, verdict.rule
    assert comparison is not None
    assert rule is not None
    notes = (*verdict.notes, *_noise_notes(comparison), *filter(None, [not_unique]))
    if comparison.worse:
        status: Status = "warning" if not_unique else "regression"
        changed = "changed" if rule.direction == "both" else "is worse"
        change, significance = describe_change(comparison), _describe_significance(comparison)
        why = f"it {changed} by {change}, {rule.tolerance} is allowed{significance}"
        return replace(verdict, status=status, why=why, fix=f"if the change is meant, {UPDATE_FIX}", notes=notes)
    if comparison.too_uncertain:
        return replace(
            verdict, why=comparison.too_uncertain, fix="measure more precisely, or find what makes it so noisy"
        )
    if comparison.better:
        return replace(
            verdict,
            status="improvement",
            why=f"it is better by {describe_change(comparison)}",
            fix=UPDATE_FIX,
            notes=notes,
        )
    return replace(verdict, status="pass", notes=notes)


def _noise_notes(comparison: Comparison) -> Iterator[str]:
    """What a passing comparison does not show because of noise."""
    if comparison.gap > comparison.allowed and not comparison.worse:
        yield f"beyond the tolerance, but within noise{_describe_significance(comparison)}"
    elif comparison.noise > comparison.allowed and not (comparison.worse or comparison.better):
        more = "a more precise measurement" if comparison.p_value is None else "more training runs"
        yield f"noise hides changes below {comparison.hidden_change}: {more} would show them"


def describe_change(comparison: Comparison) -> str:
    """The change in words: `+3.1 %`, or the amount beside a baseline of 0; `0 %` within the baseline's rounding."""
    if abs(comparison.candidate - comparison.baseline) < BASELINE_ROUNDING * abs(comparison.baseline):
        return "0 %"
    return comparison.describe_amount(comparison.candidate - comparison.baseline, sign="+")


def _describe_significance(comparison: Comparison) -> str:
    if comparison.p_value is not None:
        return f", p = {comparison.p_value:.2g}"
    return f", {abs(comparison.gap) / comparison.error:.3g} standard errors" if comparison.error else ""


def _apply_level(verdict: Verdict) -> Verdict:
    """The verdict as a warning, if the policy only warns of this metric."""
    if verdict.rule is None or verdict.rule.level != "warn" or verdict.status not in ("regression", "inconclusive"):
        return verdict
    return replace(verdict, status="warning")


def _stale_verdicts(policy: Policy, compared: Sequence[Entry]) -> list[Verdict]:
    """The metrics that the baseline holds and the policy does not name; once for a group of retrained checkpoints."""
    named = {str(metric) for metric in policy.rules}
    stale = {
        (f"{len(compared)} checkpoints" if policy.kind == "retrained" else entry.name, name)
        for entry in compared
        for name in entry.readings
        if name not in named
    }
    why, fix = "the baseline has it, the policy does not name it", "--update leaves it out"
    return [Verdict(name, checkpoint, "stale", why, fix) for checkpoint, name in sorted(stale)]
