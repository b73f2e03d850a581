"""Right or wrong, and how far from the decision, by kind of loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.losses.huggingface import LogitsLoss
from landscape.losses.predictions import divergences, error_counts, safe_radii, wrong_predictions
from landscape.losses.user import as_loss

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 5.0], [9.0, 0.0, 0.0]])
CROSS: Any = BUILT_IN_LOSSES["cross_entropy"]
BCE: Any = BUILT_IN_LOSSES["bce"]


def test_ignored_targets_are_neither_right_nor_wrong() -> None:
    found = error_counts(CROSS, LOGITS, torch.tensor([0, 0, 2, -100]))
    assert found is not None
    assert (int(found[0]), found[1]) == (1, 3)


def test_class_probabilities_name_their_largest() -> None:
    found = error_counts(
        CROSS, LOGITS, torch.tensor([[0.2, 0.8, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    )
    assert found is not None
    assert (int(found[0]), found[1]) == (1, 4)


def test_yes_or_no_is_the_sign_of_the_logit() -> None:
    found = error_counts(BCE, torch.tensor([[2.0], [-1.0], [3.0]]), torch.tensor([[1.0], [1.0], [0.0]]))
    assert found is not None
    assert (int(found[0]), found[1]) == (2, 3)
    assert BCE.structure.kind == "binary"
    assert CROSS.structure.kind == "classes"


def test_the_next_token_is_what_a_shifted_loss_scores() -> None:
    loss = LogitsLoss(CROSS, shifted=True)
    output = torch.zeros(1, 3, 4)
    output[0, torch.arange(3), torch.tensor([1, 2, 3])] = 5.0
    found = error_counts(loss, output, torch.tensor([[0, 1, 2, 0]]))
    assert found is not None
    assert (int(found[0]), found[1]) == (1, 3)


def test_torch_s_own_losses_have_their_classes_along_axis_1() -> None:
    loss = as_loss(nn.CrossEntropyLoss())
    output = torch.randn(2, 5, 7)
    assert loss.structure.axis(output, torch.zeros(2, 7, dtype=torch.long)) == 1
    assert error_counts(BUILT_IN_LOSSES["mse"], output, output) is None
    assert safe_radii(BUILT_IN_LOSSES["mse"], output, output, output) is None


def test_radii_of_predictions_that_count() -> None:
    moves = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [7.0, 0.0, 0.0]])
    radii = safe_radii(CROSS, LOGITS, moves, torch.tensor([0, 1, 2, -100]))
    assert radii is not None
    assert radii.tolist() == pytest.approx([math.pi / 2, 2 * math.pi, math.inf])
    pair = safe_radii(CROSS, LOGITS[:, :2], moves[:, :2], torch.tensor([0, 1, -100, -100]))
    assert pair is not None
    assert pair.tolist() == pytest.approx([math.hypot(1, math.pi), math.hypot(3, math.pi) / 0.5])
    single = safe_radii(BCE, torch.tensor([[2.0]]), torch.tensor([[-0.5]]), torch.ones(1, 1))
    assert single is not None
    assert single.tolist() == pytest.approx([math.hypot(2, math.pi) / 0.5])


def test_another_ignored_target_is_left_out_too() -> None:
    loss = as_loss(nn.CrossEntropyLoss(ignore_index=0))
    found = error_counts(loss, LOGITS, torch.tensor([0, 1, 1, 0]))
    assert found is not None
    assert (int(found[0]), found[1]) == (1, 2)
    moves = torch.eye(3).repeat(2, 1)[:4]
    radii = safe_radii(loss, LOGITS, moves, torch.tensor([0, 1, 1, 0]))
    assert radii is not None
    assert len(radii) == 2


AFTER = LOGITS.flip(0) + 0.5


def test_divergences_of_classes_are_those_of_their_distributions() -> None:
    target = torch.tensor([0, 1, -100, 2])
    found = divergences(CROSS, LOGITS, AFTER, target)
    before, after = (Categorical(logits=logits.double()) for logits in (LOGITS, AFTER))
    expected = kl_divergence(before, after)
    assert found is not None
    assert torch.allclose(found, torch.where(target == -100, 0.0, expected))


def test_divergences_of_yes_and_no_and_of_reals_are_those_of_their_distributions() -> None:
    bits, reals = (divergences(loss, LOGITS, AFTER, LOGITS) for loss in (BCE, BUILT_IN_LOSSES["mse"]))
    before, after = (Bernoulli(logits=logits.double()) for logits in (LOGITS, AFTER))
    assert bits is not None
    assert torch.allclose(bits, kl_divergence(before, after).sum(1))
    normal = [Normal(logits.double(), 0.5**0.5) for logits in (LOGITS, AFTER)]
    assert reals is not None
    assert torch.allclose(reals, kl_divergence(*normal).sum(1))


def test_a_function_of_the_user_s_has_no_predictions() -> None:
    loss = as_loss(lambda output, target: (output - target).square().mean())
    assert wrong_predictions(loss, LOGITS, LOGITS) is None
    assert divergences(loss, LOGITS, AFTER, LOGITS) is None
    assert safe_radii(loss, LOGITS, AFTER, LOGITS) is None


@pytest.mark.parametrize(
    "module", [nn.MSELoss(), nn.BCELoss(), nn.HuberLoss()], ids=lambda module: type(module).__name__
)
def test_modules_of_elements_have_no_classes(module: nn.Module) -> None:
    assert not as_loss(module).structure.has_classes
    assert error_counts(as_loss(module), LOGITS, LOGITS) is None
