"""Reasons why readings cannot be compared: such a comparison neither passes nor counts as a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from landscape.gates.entry import Entry, Run
from landscape.gates.metric import Metric
from landscape.gates.retrained import MIN_CHECKPOINTS, significant_difference

COMPARABLE_LOSS_GAP = 0.1  # relative: curvatures of cross-entropy fall with the loss, even if nothing else has changed
LOSS_ALPHA = 0.05  # two-sided: chance that the losses of one training recipe differ more than this test allows
UPDATE_FIX = "--update writes it to the baseline"
READING_FIX = "correct that, ask for it in [check.ANALYSIS] (k, per_layer, max_products ...), or leave the metric out"


class NotComparable(NamedTuple):
    """Why a comparison cannot be made, and what to do about it."""

    why: str
    fix: str


def missing_reading(metric: Metric, group: str, entry: Entry | None) -> NotComparable | None:
    """Why an entry of the `group`, baseline or candidate, has no number to compare; None if it has one."""
    reading = entry.readings.get(str(metric)) if entry else None
    if reading is None and group == "baseline":
        return NotComparable("the baseline has nothing of this" + (" metric" if entry else " checkpoint"), UPDATE_FIX)
    if reading is None:
        return NotComparable(f"{metric.analysis} was not measured", f"measure it: landscape {metric.analysis}")
    if reading.not_gateable:
        assert entry is not None
        return NotComparable(f"{group} {entry.name}: {reading.not_gateable}", READING_FIX)
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


def different_measurements(mine: Run, theirs: Run, *, trained: bool = False) -> NotComparable | None:
    """The differences between two measurements that make their numbers incomparable; None if there are none."""
    if mismatches := mine.mismatches(theirs, trained=trained):
        return NotComparable(
            f"not the same measurement: {'; '.join(mismatches)}",
            f"measure as the baseline was measured, or, if the change is meant, {UPDATE_FIX}",
        )
    return None


def different_losses(mine: Run, theirs: Run) -> NotComparable | None:
    """Two losses that are too far apart for a comparison; None if they are near or do not matter."""
    if not mine.follows_loss or _losses_agree(mine.loss, theirs.loss):
        return None
    return _loss_gap(theirs.loss, mine.loss)


def different_mean_losses(mine: Sequence[Run], theirs: Sequence[Run]) -> NotComparable | None:
    """Two mean losses that are too far apart, and further than the baseline's seeds explain; None otherwise."""
    here, there = (np.array([run.loss for run in runs]) for runs in (mine, theirs))
    means = float(here.mean()), float(there.mean())
    if not theirs[0].follows_loss or _losses_agree(*means):
        return None
    explained = abs(means[0] - means[1]) <= significant_difference(there, len(here), LOSS_ALPHA / 2)
    return None if explained else _loss_gap(means[1], means[0])


def _losses_agree(mine: float, theirs: float) -> bool:
    """Whether two losses are near enough for a comparison; NaN is near no loss."""
    return abs(mine - theirs) <= COMPARABLE_LOSS_GAP * max(abs(mine), abs(theirs))


def _loss_gap(theirs: float, mine: float) -> NotComparable:
    return NotComparable(
        f"the loss is {mine:.4g}, in the baseline {theirs:.4g}: cross-entropy flattens as a net becomes confident, so "
        f"that beyond {COMPARABLE_LOSS_GAP:.0%} a comparison says nothing",
        f"compare checkpoints of about the same loss, or, if the change is meant, {UPDATE_FIX}",
    )
