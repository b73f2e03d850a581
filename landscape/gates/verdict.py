"""The judgement: every metric of every candidate beside its baseline, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from landscape.errors import EXIT_INCONCLUSIVE, EXIT_REGRESSION
from landscape.gates import not_comparable, retrained, same_weights
from landscape.gates.comparison import Comparison, describe_change
from landscape.gates.entry import Entry
from landscape.gates.losses import COMPARABLE_LOSS_GAP, LOSS_METRIC, LossGap, gap_between
from landscape.gates.metric import Metric
from landscape.gates.not_comparable import NotComparable
from landscape.gates.policy import DEFAULT_TOLERANCES, ComparisonKind, Policy, Rule
from landscape.gates.reference import BASELINE, Reference
from landscape.gates.tolerance import Tolerance

Status = Literal["pass", "improvement", "warning", "stale", "regression", "inconclusive"]
T = TypeVar("T")
OTHER_FUNCTION_FIX = (
    "find what the conversion or refactoring changed (activations, normalization, scaling of the inputs, data type); "
    "new training runs: --kind retrained"
)


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric: its numbers as far as they are known, the reason, and what to do.

    `measured` are the values of baseline and candidate, None where nothing was measured; `loss_gap` the losses if they
    are why the metric is not compared.
    """

    metric: str
    checkpoint: str
    status: Status
    why: str = ""
    fix: str = ""
    rule: Rule | None = None
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    measured: tuple[float | None, float | None] = (None, None)
    loss_gap: LossGap | None = None

    @property
    def baseline(self) -> float | None:
        """The baseline's value, of several checkpoints their mean; None if there is none."""
        return self.comparison.baseline if self.comparison else self.measured[0]

    @property
    def candidate(self) -> float | None:
        """The candidate's value, of several checkpoints their mean; None if there is none."""
        return self.comparison.candidate if self.comparison else self.measured[1]

    @property
    def change(self) -> str:
        """The change in words; "" if it is not known."""
        values = (self.baseline, self.candidate)
        return "" if values[0] is None or values[1] is None else describe_change(values[0], values[1])

    def without_comparison(self, reason: NotComparable) -> Verdict:
        """The verdict for readings that cannot be compared."""
        return replace(self, status="inconclusive", why=reason.why, fix=reason.fix, loss_gap=reason.losses)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """1 if anything regressed, else 3 if anything is inconclusive, else 0."""
    statuses = {verdict.status for verdict in verdicts}
    if "regression" in statuses:
        return EXIT_REGRESSION
    return EXIT_INCONCLUSIVE if "inconclusive" in statuses else 0


def judge(
    policy: Policy,
    baseline: Sequence[Entry],
    candidates: Sequence[Entry],
    *,
    one_for_all: bool = False,
    reference: Reference = BASELINE,
) -> list[Verdict]:
    """A verdict for every metric of every candidate (of all candidates together if retrained), then the stale metrics.

    Where losses are too far apart, a verdict on the loss stands above those of the metrics. With `one_for_all`,
    candidates of any name are compared with the baseline's only entry. `reference` names the baseline in sentences.
    """
    checked = [(metric, rule) for metric, rule in policy.rules.items() if rule.level != "off"]
    if policy.kind == "retrained":
        groups = [[judge_group(metric, rule, baseline, candidates, reference) for metric, rule in checked]]
        compared = list(baseline)
    else:
        alone = one_for_all or len(candidates) == 1
        pairs = [(baseline_entry(candidate, baseline, alone=alone), candidate) for candidate in candidates]
        groups = [[judge_one(*item, earlier, candidate, reference) for item in checked] for earlier, candidate in pairs]
        compared = [earlier for earlier, _ in pairs if earlier is not None]
        groups = [
            [*_function_verdicts(group, earlier, candidate, reference), *group]
            for group, (earlier, candidate) in zip(groups, pairs, strict=True)
        ]
    verdicts = [verdict for group in groups for verdict in (*_loss_verdicts(policy.kind, group, reference), *group)]
    return [*map(_apply_level, verdicts), *_stale_verdicts(policy, compared)]


def _loss_verdicts(kind: ComparisonKind, verdicts: Sequence[Verdict], reference: Reference) -> list[Verdict]:
    """The verdict on the loss of one candidate or group; none if its metrics are compared.

    The same weights in another guise have the same loss: a rise beyond rounding is a regression. It is as severe as the
    metrics that it keeps from being compared.
    """
    apart = [(verdict, verdict.loss_gap) for verdict in verdicts if verdict.loss_gap is not None]
    if not apart:
        return []
    verdict, gap = apart[0]
    severe = any(one.rule is not None and one.rule.level == "error" for one, _ in apart)
    rule = Rule(Tolerance(COMPARABLE_LOSS_GAP), "error" if severe else "warn")
    same = kind == "same-weights"
    status: Status = "regression" if same and gap.rises else "inconclusive"
    why = ("this is not the same function: " if same and gap.differs else "") + gap.describe(reference.name)
    fix = OTHER_FUNCTION_FIX if same else "train to about the same loss"
    measured = (gap.baseline, gap.candidate)
    return [Verdict(LOSS_METRIC, verdict.checkpoint, status, why, fix, rule, measured=measured)]


def _function_verdicts(
    verdicts: Sequence[Verdict], earlier: Entry | None, candidate: Entry, reference: Reference
) -> list[Verdict]:
    """The verdict on a loss that the same weights should share, where metrics are compared in spite of a difference.

    None if the loss differs by rounding or within the tolerance of conversions, and none if the policy has a rule for
    a loss of its own.
    """
    compared = [(Metric.parse(one.metric), one) for one in verdicts if one.comparison is not None]
    if earlier is None or not compared or any(one.loss_gap for one in verdicts):
        return []
    if any(metric.field == LOSS_METRIC for metric, _ in compared):
        return []
    mine, theirs = (entry.runs[compared[0][0].analysis] for entry in (candidate, earlier))
    gap = gap_between(mine, theirs, mine.loss, theirs.loss)
    severe = any(one.rule is not None and one.rule.level == "error" for _, one in compared)
    rule = Rule(Tolerance.parse(DEFAULT_TOLERANCES["same-weights"]), "error" if severe else "warn")
    if not gap.differs or abs(gap.candidate - gap.baseline) <= rule.tolerance.of(gap.baseline):
        return []
    status: Status = "regression" if gap.rises else "warning"
    why, measured = f"this is not the same function: {gap.describe(reference.name)}", (gap.baseline, gap.candidate)
    fix = f"{OTHER_FUNCTION_FIX}; if the change is meant, {reference.accept}"
    return [Verdict(LOSS_METRIC, candidate.name, status, why, fix, rule, measured=measured)]


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


def judge_one(
    metric: Metric, rule: Rule, earlier: Entry | None, candidate: Entry, reference: Reference = BASELINE
) -> Verdict:
    """The verdict of the same-weights rule."""
    name = str(metric)
    measured = _value(earlier, name), _value(candidate, name)
    verdict = Verdict(name, candidate.name, "inconclusive", rule=rule, measured=measured)
    groups = {"candidate": candidate, "baseline": earlier}
    if reason := _first_reason(
        not_comparable.missing_reading(metric, group, entry, reference) for group, entry in groups.items()
    ):
        return verdict.without_comparison(reason)
    assert earlier is not None
    mine, theirs = candidate.runs[metric.analysis], earlier.runs[metric.analysis]
    if reason := not_comparable.different_measurements(mine, theirs, reference):
        return verdict.without_comparison(reason)
    if reason := not_comparable.different_losses(mine, theirs):
        return verdict.without_comparison(reason)
    readings = earlier.readings[name], candidate.readings[name]
    known = _names_match(candidate, earlier) or reference != BASELINE
    other = [] if known else [f"compared with {earlier.name}, the only one of {reference.name}"]
    notes = (*other, *mine.remarks(theirs, reference.name))
    compared = replace(verdict, comparison=same_weights.compare_same_weights(*readings, rule), notes=notes)
    return _decide(compared, next((reading.not_unique for reading in readings if reading.not_unique), ""), reference)


def _value(entry: Entry | None, metric: str) -> float | None:
    """The value of a metric in an entry; None if it has none."""
    reading = entry.readings.get(metric) if entry else None
    return reading.value if reading else None


def _mean_values(metric: str, *groups: Sequence[Entry]) -> tuple[float | None, float | None]:
    """The mean of a metric in each of two groups; None for a group in which an entry lacks it."""
    known = [[value for entry in group if (value := _value(entry, metric)) is not None] for group in groups]
    complete = [bool(values) and len(values) == len(group) for values, group in zip(known, groups, strict=True)]
    means = retrained.centers(*(values if all_of else [] for values, all_of in zip(known, complete, strict=True)))
    return means[0] if complete[0] else None, means[1] if complete[1] else None


def judge_group(
    metric: Metric, rule: Rule, baseline: Sequence[Entry], candidates: Sequence[Entry], reference: Reference = BASELINE
) -> Verdict:
    """The verdict of the rule for retrained checkpoints."""
    name = str(metric)
    measured = _mean_values(name, baseline, candidates)
    verdict = Verdict(name, f"{len(candidates)} checkpoints", "inconclusive", rule=rule, measured=measured)
    if reason := _first_reason(_reasons_against_groups(metric, baseline, candidates, reference)):
        return verdict.without_comparison(reason)
    mine, theirs = ([entry.runs[metric.analysis] for entry in entries] for entries in (candidates, baseline))
    earlier, now = ([entry.readings[name] for entry in entries] for entries in (baseline, candidates))
    notes = tuple(dict.fromkeys(remark for run in mine for remark in run.remarks(theirs[0], reference.name)))
    comparison = retrained.compare_retrained(
        [reading.value for reading in earlier], [reading.value for reading in now], rule
    )
    not_unique = next((reading.not_unique for reading in (*now, *earlier) if reading.not_unique), "")
    return _decide(replace(verdict, comparison=comparison, notes=notes), not_unique, reference)


def _reasons_against_groups(
    metric: Metric, baseline: Sequence[Entry], candidates: Sequence[Entry], reference: Reference
) -> Iterator[NotComparable | None]:
    """The reasons not to compare two groups, None for one that does not hold; each is computed if none before holds."""
    groups = {"candidate": candidates, "baseline": baseline}
    for group, entries in groups.items():
        yield from (not_comparable.missing_reading(metric, group, entry, reference) for entry in entries)
    yield from (not_comparable.too_few_checkpoints(metric, group, entries) for group, entries in groups.items())
    yield not_comparable.baseline_among_candidates(metric, baseline, candidates)
    mine, theirs = ([entry.runs[metric.analysis] for entry in entries] for entries in groups.values())
    for run in (*mine, *theirs):
        yield not_comparable.different_measurements(run, theirs[0], reference, trained=True)
    yield not_comparable.different_mean_losses(mine, theirs)


def _first_reason(reasons: Iterable[T]) -> T | None:
    """The first reason that is not None; later ones are not computed."""
    return next(filter(None, reasons), None)


def _decide(verdict: Verdict, not_unique: str, reference: Reference) -> Verdict:
    """The verdict of a comparison that was made."""
    comparison, rule = verdict.comparison, verdict.rule
    assert comparison is not None
    assert rule is not None
    notes = (*verdict.notes, *_noise_notes(comparison), *filter(None, [not_unique]))
    if comparison.worse:
        status: Status = "warning" if not_unique else "regression"
        changed = "changed" if rule.direction == "both" else "is worse"
        why = f"it {changed} by {verdict.change}, {rule.tolerance} is allowed{_describe_significance(comparison)}"
        fix = f"if the change is meant, {reference.accept}"
        return replace(verdict, status=status, why=why, fix=fix, notes=notes)
    if comparison.too_uncertain:
        return replace(
            verdict, why=comparison.too_uncertain, fix="measure more precisely, or find what makes it so noisy"
        )
    if comparison.better:
        return replace(
            verdict,
            status="improvement",
            why=f"it is better by {verdict.change}",
            fix=reference.accept if reference == BASELINE else "",
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
