"""The digits: splits that do not overlap, pixels in [0, 1], and label noise that can be told apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from landscape.zoo.digits import CLASSES, corrupt_labels, digits


def stack(**arguments: Any) -> tuple[Tensor, Tensor]:
    batches = digits(**arguments)
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


@pytest.mark.parametrize(("split", "samples"), [("train", 1300), ("test", 497), ("all", 1797)])
def test_a_split_has_its_number_of_samples_of_all_classes(split: str, samples: int) -> None:
    inputs, labels = stack(split=split)
    assert inputs.shape == (samples, 64)
    assert 0 <= float(inputs.min()) < float(inputs.max()) == 1
    assert set(labels.tolist()) == set(range(CLASSES))


def test_training_and_test_set_are_the_whole_set() -> None:
    train, test, both = (stack(split=split)[0] for split in ("train", "test", "all"))
    assert torch.equal(torch.cat([train, test]), both)


def test_images_are_the_same_pixels_in_two_dimensions() -> None:
    assert torch.equal(stack(images=True)[0].flatten(1), stack()[0])
    assert stack(images=True)[0].shape == (1300, 1, 8, 8)


@pytest.mark.parametrize("spelling", ["standardized", "standardised"])
def test_standardized_pixels_have_mean_0_and_variance_1_over_the_training_set(spelling: str) -> None:
    inputs, _ = stack(**{spelling: True})
    varying = stack()[0].std(dim=0) > 0
    assert torch.allclose(inputs.mean(dim=0), torch.zeros(64), atol=1e-5)
    assert torch.allclose(inputs.std(dim=0)[varying], torch.ones(int(varying.sum())), rtol=1e-5)
    assert not inputs[:, ~varying].any()


def test_noise_replaces_that_share_of_labels_by_other_classes() -> None:
    labels = torch.arange(1000) % CLASSES
    noisy, mask = corrupt_labels(labels, 0.1, seed=3)
    assert int(mask.sum()) == 100
    assert torch.equal(noisy != labels, mask)
    assert int(noisy.min()) >= 0
    assert int(noisy.max()) < CLASSES
    assert not torch.equal(mask, corrupt_labels(labels, 0.1, seed=4)[1])


def test_parts_of_noisy_data_are_told_apart() -> None:
    truth = stack()[1]
    noisy, mask = corrupt_labels(truth, 0.1, 0)
    wrong, right, corrected = (stack(noise=0.1, part=part) for part in ("wrong", "right", "corrected"))
    assert torch.equal(wrong[1], noisy[mask])
    assert torch.equal(right[1], truth[~mask])
    assert torch.equal(corrected[1], truth[mask])
    assert torch.equal(corrected[0], wrong[0])
