"""The sentence about the loss is true for the loss that was measured."""

from __future__ import annotations

import pytest
from gating import run

from landscape.gates.losses import CROSS_ENTROPY_REASON, GENERAL_REASON, SQUARED_ERROR_REASON, loss_gap, loss_reason

REASONS = {
    "cross_entropy": CROSS_ENTROPY_REASON,
    "bce": CROSS_ENTROPY_REASON,
    "mse": SQUARED_ERROR_REASON,
    "hinge": GENERAL_REASON,
    "cross_entropy of logits / norm": GENERAL_REASON,  # which do not grow with confidence
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=["ce", "bce", "mse", "own", "normalized"])
def test_the_reason_is_that_of_the_loss(name: str, reason: str) -> None:
    gap = loss_gap(run(0.2, loss=name), run(0.1, loss=name))
    assert gap is not None
    assert gap.reason == loss_reason(name) == reason


def test_losses_within_ten_per_cent_have_no_gap() -> None:
    assert loss_gap(run(0.11), run(0.1)) is None
    assert loss_gap(run(-0.11), run(-0.1)) is None
    gap = loss_gap(run(0.112), run(0.1))
    assert gap is not None
    assert gap.describe("good.pt") == "the loss is 0.112, in good.pt 0.1"
