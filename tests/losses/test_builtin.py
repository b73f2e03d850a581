"""Built-in losses: the domains of their targets, counts and drawn labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape.errors import TaskError
from landscape.losses.builtin import BCE, CROSS_ENTROPY, MSE
from landscape.losses.user import as_loss

LOGITS = torch.randn(24, 7, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(0, 7, (24,), generator=torch.Generator().manual_seed(1))
IGNORING = CLASSES.clone()
IGNORING[3::4] = -100
REALS = torch.randn(24, 7, generator=torch.Generator().manual_seed(2))
SOFT = REALS.softmax(-1)
BITS = (REALS > 0).float()
SQUARE = torch.randn(24, 5, 5, generator=torch.Generator().manual_seed(3))


def test_shapes_that_would_broadcast_are_refused() -> None:
    for name in ("mse", "bce", nn.MSELoss(), nn.L1Loss()):
        with pytest.raises(TaskError, match=r"needs equal shapes: output \(4, 1\).*target \(4,\)"):
            as_loss(name).total(torch.zeros(4, 1), torch.zeros(4))


def test_targets_outside_a_loss_s_domain_are_refused() -> None:
    with pytest.raises(TaskError, match="at least two classes"):
        as_loss("cross_entropy").total(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))
    with pytest.raises(TaskError, match=r"outside \[0, 1\]"):
        as_loss("bce").count(REALS)
    with pytest.raises(TaskError, match="real targets"):
        as_loss("cross_entropy").count(REALS[:, 0])


def test_real_targets_that_are_no_probabilities_are_refused() -> None:
    for target in (torch.randn(4, 3), torch.full((4, 3), 0.5)):
        with pytest.raises(TaskError, match="not class probabilities"):
            as_loss("cross_entropy").count(target)
    assert as_loss("cross_entropy").count(torch.rand(4, 3).softmax(1)) == 4


def test_classes_in_any_whole_numbers() -> None:
    loss = as_loss("cross_entropy")
    expected = float(loss.total(LOGITS, CLASSES))
    assert all(
        float(loss.total(LOGITS, CLASSES.to(kind))) == expected for kind in (torch.int32, torch.int16, torch.uint8)
    )


DRAWS = 20_000


def uniform(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def test_drawn_classes_have_the_probabilities_of_the_softmax() -> None:
    logits = torch.tensor([0.3, -1.0, 1.2]).expand(DRAWS, 3)
    drawn = CROSS_ENTROPY.sample(logits, torch.zeros(DRAWS, dtype=torch.long), uniform)
    frequency = torch.bincount(drawn, minlength=3) / DRAWS
    error = 3 * (0.25 / DRAWS) ** 0.5  # three standard errors of the largest variance
    assert torch.allclose(frequency, logits[0].softmax(0), atol=error)


def test_drawn_classes_keep_the_form_of_the_targets() -> None:
    ignored = torch.tensor([-100, 1, -100, 2])
    drawn = CROSS_ENTROPY.sample(LOGITS[:4], ignored, uniform)
    assert drawn[0] == drawn[2] == -100
    assert bool((drawn[[1, 3]] >= 0).all())
    one_hot = CROSS_ENTROPY.sample(LOGITS, SOFT, uniform)
    assert one_hot.sum(dim=1).tolist() == [1.0] * 24
    assert one_hot.dtype == SOFT.dtype


def test_drawn_real_targets_have_the_output_s_mean_and_variance_one_half() -> None:
    output = torch.full((DRAWS,), 3.0, dtype=torch.float64)
    drawn = MSE.sample(output, output, uniform)
    assert float(drawn.mean()) == pytest.approx(3.0, abs=3 * (0.5 / DRAWS) ** 0.5)
    assert float(drawn.var()) == pytest.approx(0.5, abs=3 * 0.5 * (2 / DRAWS) ** 0.5)


def test_drawn_bits_have_the_probability_of_the_sigmoid() -> None:
    output = torch.full((DRAWS,), 0.7)
    drawn = BCE.sample(output, output, uniform)
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert float(drawn.mean()) == pytest.approx(float(torch.tensor(0.7).sigmoid()), abs=3 * (0.25 / DRAWS) ** 0.5)


def test_counts_are_of_targets_samples_or_elements() -> None:
    assert CROSS_ENTROPY.count(IGNORING) == int((IGNORING != -100).sum())
    assert CROSS_ENTROPY.count(SQUARE.softmax(1)) == 24 * 5
    assert MSE.count(REALS) == BCE.count(BITS) == 24 * 7
