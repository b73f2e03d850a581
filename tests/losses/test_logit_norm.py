"""Losses of normalized logits: scale and shift of the logits change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from landscape.errors import TaskError
from landscape.losses.builtin import CROSS_ENTROPY, MSE
from landscape.losses.huggingface import LogitsLoss
from landscape.losses.logit_norm import with_normalized_logits
from landscape.losses.user import as_loss

LOGITS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 3, -100, 1])


@pytest.mark.parametrize("by", ["l2", "std"])
def test_it_is_the_loss_of_the_centered_logits_over_their_size(by: Any) -> None:
    loss = with_normalized_logits(CROSS_ENTROPY, by)
    centered = LOGITS - LOGITS.mean(dim=1, keepdim=True)
    size = centered.norm(dim=1, keepdim=True) if by == "l2" else centered.std(dim=1, keepdim=True, correction=0)
    expected = functional.cross_entropy(centered / size, CLASSES, reduction="sum")
    assert float(loss.total(LOGITS, CLASSES)) == pytest.approx(float(expected), rel=1e-12)
    assert float(loss.total(5 * LOGITS - 3, CLASSES)) == pytest.approx(float(expected), rel=1e-12)
    assert loss.count(CLASSES) == 5
    assert loss.name == f"cross_entropy of logits / {by}"


def test_tokens_and_shifted_logits_are_normalized_along_their_classes() -> None:
    tokens, labels = LOGITS.view(2, 3, 4), torch.tensor([[0, 1, 2], [3, -100, 1]])
    plain = with_normalized_logits(CROSS_ENTROPY, "l2").total(LOGITS, labels.view(6))
    assert torch.allclose(with_normalized_logits(CROSS_ENTROPY, "l2").total(tokens, labels), plain)
    shifted = with_normalized_logits(LogitsLoss(CROSS_ENTROPY, shifted=True), "l2")
    wider = torch.cat([torch.zeros(2, 1).long(), labels], dim=1)
    assert torch.allclose(shifted.total(tokens, wider), plain)
    assert shifted.structure.shift


def test_none_is_the_loss_itself() -> None:
    assert with_normalized_logits(CROSS_ENTROPY, "none") is CROSS_ENTROPY


def test_its_predictions_are_classes_but_it_is_no_likelihood() -> None:
    structure = with_normalized_logits(CROSS_ENTROPY, "l2").structure
    assert structure.has_classes
    assert not structure.canonical_link
    assert not structure.likelihood


@pytest.mark.parametrize("inner", [MSE, as_loss(lambda output, target: (output - target).mean())], ids=["mse", "own"])
def test_a_loss_without_classes_is_refused(inner: Any) -> None:
    with pytest.raises(TaskError, match=r"--logit-norm needs logits with classes, and the loss is"):
        with_normalized_logits(inner, "l2").total(LOGITS, LOGITS)
