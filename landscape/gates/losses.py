"""The loss of candidates beside the loss of the baseline: whether their other numbers can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from landscape.gates.entry import Run
from landscape.gates.retrained import significant_difference

LOSS_METRIC = "loss"  # the name of the verdict on the loss
COMPARABLE_LOSS_GAP = 0.1  # relative: curvatures of cross-entropy fall with the loss, even if nothing else has changed
LOSS_ALPHA = 0.05  # two-sided: chance that the losses of one training recipe differ more than this test allows
ROUNDING_STEPS = 16  # units in the last place of a number of size 1: logits of some ten are rounded so
EPSILONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10}
COARSEST_EPSILON = 2.0**-7  # of bfloat16
CROSS_ENTROPIES = ("cross_entropy", "bce", "CrossEntropyLoss", "BCEWithLogitsLoss")
SQUARED_ERRORS = ("mse", "MSELoss")
CROSS_ENTROPY_REASON = "cross-entropy flattens as a net becomes confident"
SQUARED_ERROR_REASON = "the residuals are a part of the squared error's Hessian"
GENERAL_REASON = "nets of different losses are different functions"


class LossGap(NamedTuple):
    """Two losses that are too far apart, the smallest difference that is no rounding, and why the gap matters."""

    baseline: float
    candidate: float
    rounding: float
    reason: str

    @property
    def rises(self) -> bool:
        """Whether the candidate's loss is higher by more than rounding; False if a loss is NaN."""
        return self.candidate - self.baseline > self.rounding

    @property
    def differs(self) -> bool:
        """Whether the losses differ by more than rounding; False if a loss is NaN."""
        return abs(self.candidate - self.baseline) > self.rounding

    def describe(self, there: str) -> str:
        """Both losses: `the loss is 0.12, in the baseline 0.1`."""
        return f"the loss is {self.candidate:.4g}, in {there} {self.baseline:.4g}"


def loss_gap(mine: Run, theirs: Run) -> LossGap | None:
    """Two losses that are too far apart for a comparison; None if they are near or do not matter."""
    if not mine.follows_loss or _losses_agree(mine.loss, theirs.loss):
        return None
    return gap_between(mine, theirs, mine.loss, theirs.loss)


def mean_loss_gap(mine: Sequence[Run], theirs: Sequence[Run]) -> LossGap | None:
    """Two mean losses that are too far apart, and further than the baseline's seeds explain; None otherwise."""
    here, there = (np.array([run.loss for run in runs]) for runs in (mine, theirs))
    means = float(here.mean()), float(there.mean())
    if not theirs[0].follows_loss or _losses_agree(*means):
        return None
    explained = abs(means[0] - means[1]) <= significant_difference(there, len(here), LOSS_ALPHA / 2)
    return None if explained else gap_between(mine[0], theirs[0], *means)


def loss_reason(name: object) -> str:
    """Why curvatures of nets at different losses do not compare, for a loss of this name, as far as it is known."""
    if name in CROSS_ENTROPIES:
        return CROSS_ENTROPY_REASON
    return SQUARED_ERROR_REASON if name in SQUARED_ERRORS else GENERAL_REASON


def _losses_agree(mine: float, theirs: float) -> bool:
    """Whether two losses are near enough for a comparison; NaN is near no loss."""
    return abs(mine - theirs) <= COMPARABLE_LOSS_GAP * max(abs(mine), abs(theirs))


def gap_between(run: Run, earlier: Run, mine: float, theirs: float) -> LossGap:
    """Both losses, whatever is between them; `run` and `earlier` tell their precision."""
    epsilon = max(EPSILONS.get(str(one.fingerprint.get("dtype")), COARSEST_EPSILON) for one in (run, earlier))
    rounding = ROUNDING_STEPS * epsilon * max(1.0, *(abs(loss) for loss in (mine, theirs) if math.isfinite(loss)), 0.0)
    return LossGap(theirs, mine, rounding, loss_reason(run.fingerprint.get("loss")))
