"""Reasons why readings cannot be compared: such a comparison neither passes nor counts as a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from landscape.gates.entry import Entry, Run
from landscape.gates.losses import COMPARABLE_LOSS_GAP, LossGap, loss_gap, mean_loss_gap
from landscape.gates.metric import Metric
from landscape.gates.reference import BASELINE, Reference
from landscape.gates.retrained import MIN_CHECKPOINTS

READING_FIX = "correct that, or leave the metric out"


class NotComparable(NamedTuple):
    """Why a comparison cannot be made, what to do about it, and the losses if these are the reason."""

    why: str
    fix: str
    losses: LossGap | None = None


def missing_reading(
    metric: Metric, group: str, entry: Entry | None, reference: Reference = BASELINE
) -> NotComparable | None:
    """Why an entry of the `group`, baseline or candidate, has no number to compare; None if it has one."""
    reading = entry.readings.get(str(metric)) if entry else None
    if reading is None and group == "baseline":
        lacking = "metric" if entry else "checkpoint"
        return NotComparable(f"{reference.name} has nothing of this {lacking}", reference.accept)
    if reading is None:
        return NotComparable(f"{metric.analysis} was not measured", f"measure it: landscape {metric.analysis}")
    if reading.not_gateable:
        assert entry is not None
        return NotComparable(f"{group} {entry.name}: {reading.not_gateable}", reading.fix or READING_FIX)
    return None


def too_few_checkpoints(metric: Metric, group: str, entries: Sequence[Entry]) -> NotComparable | None:
    """Why the spread between seeds is not known: too few checkpoints, or equal ones; None if it is known."""
    weights = {entry.runs[metric.analysis].fingerprint.get("weights") for entry in entries}
    if len(weights) < len(entries):
        return NotComparable(f"two {group} checkpoints have the same weights", "checkpoints of different seeds")
    if len(entries) >= MIN_CHECKPOINTS[group]:
        return None
    several = "checkpoint" if len(entries) == 1 else "checkpoints"
    return NotComparable(
        f"{len(entries)} {group} {several}: a change cannot be distinguished from the choice of seed by fewer than "
        f"{MIN_CHECKPOINTS[group]}",
        f"train {MIN_CHECKPOINTS['baseline']} for the baseline and {MIN_CHECKPOINTS['candidate']} candidates that "
        "differ in the seed",
    )


def baseline_among_candidates(
    metric: Metric, baseline: Sequence[Entry], candidates: Sequence[Entry]
) -> NotComparable | None:
    """The first candidate that is one of the baseline's own checkpoints; None if there is none."""
    weights = {entry.runs[metric.analysis].fingerprint.get("weights") for entry in baseline}
    same = [entry.name for entry in candidates if entry.runs[metric.analysis].fingerprint.get("weights") in weights]
    if not same:
        return None
    return NotComparable(f"{same[0]} is one of the baseline's own checkpoints", "candidates of a new training run")


def different_measurements(
    mine: Run, theirs: Run, reference: Reference = BASELINE, *, trained: bool = False
) -> NotComparable | None:
    """The differences between two measurements that make their numbers incomparable; None if there are none."""
    if mismatches := mine.mismatches(theirs, reference.name, trained=trained):
        return NotComparable(
            f"not the same measurement: {'; '.join(mismatches)}",
            f"measure as {reference.name} was measured, or, if the change is meant, {reference.accept}",
        )
    return None


def different_losses(mine: Run, theirs: Run) -> NotComparable | None:
    """Two losses that are too far apart for a comparison; None if they are near or do not matter."""
    return _because_of_losses(loss_gap(mine, theirs))


def different_mean_losses(mine: Sequence[Run], theirs: Sequence[Run]) -> NotComparable | None:
    """Two mean losses that are too far apart, and further than the baseline's seeds explain; None otherwise."""
    return _because_of_losses(mean_loss_gap(mine, theirs))


def _because_of_losses(gap: LossGap | None) -> NotComparable | None:
    """The reason without the losses themselves, of which a verdict of its own tells."""
    if gap is None:
        return None
    return NotComparable(
        f"not compared, since the losses differ by more than {COMPARABLE_LOSS_GAP:.0%}: {gap.reason}",
        "compare checkpoints of about the same loss",
        gap,
    )
