"""The 1797 8x8 handwritten digits of the UCI repository (the set that scikit-learn ships), in a fixed order.

`digits.npz` holds each digit once, in an order shuffled once: the first 1300 are the training set. Source: E. Alpaydin
and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
"""

from __future__ import annotations

from importlib import resources
from typing import Literal

import numpy as np
import torch
from torch import Tensor

TRAINING_SAMPLES = 1300
CLASSES = 10
SPLITS = {"train": slice(0, TRAINING_SAMPLES), "test": slice(TRAINING_SAMPLES, None), "all": slice(None)}


def pixels_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(1797, 64)` in 0..16 and labels `(1797,)`, both uint8."""
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        return stored["pixels"], stored["labels"]


def corrupt_labels(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """The labels `(N,)` with round(share * N) of them replaced by another class, and the mask of those.

    The random numbers come from `RandomState`, whose stream is frozen (NEP 19): a sample checkpoint must mean the same
    under every NumPy.
    """
    random = np.random.RandomState(seed)
    replaced = torch.from_numpy(random.permutation(len(labels))[: round(share * len(labels))])
    shift = torch.from_numpy(random.randint(1, CLASSES, len(replaced)))
    noisy, mask = labels.clone(), torch.zeros(len(labels), dtype=torch.bool)
    noisy[replaced] = (labels[replaced] + shift) % CLASSES
    mask[replaced] = True
    return noisy, mask


def digits(
    split: str = "train",
    *,
    images: bool = False,
    standardized: bool = False,
    noise: float = 0.0,
    noise_seed: int = 0,
    part: Literal["all", "wrong", "right", "corrected"] = "all",
    batch_size: int = 256,
    standardised: bool = False,  # the earlier spelling, which checkpoints and settings still hold
) -> list[tuple[Tensor, Tensor]]:
    """Batches of pixels in [0, 1], `(n, 64)` or `(n, 1, 8, 8)` if `images`, with int64 labels `(n,)`.

    `split` is `train` (1300), `test` (497) or `all`. With `standardized` every pixel has mean 0 and variance 1 over the
    training set. A share `noise` of the labels is replaced; `part` selects the samples whose label is then `wrong`,
    those whose label is `right`, or the wrong ones with their labels `corrected`.
    """
    pixels, classes = pixels_and_labels()
    inputs = torch.from_numpy(pixels[SPLITS[split]]).float() / 16
    if standardized or standardised:
        training = torch.from_numpy(pixels[SPLITS["train"]]).float() / 16
        deviation = training.std(dim=0)
        inputs = torch.where(deviation > 0, (inputs - training.mean(dim=0)) / deviation, 0.0)
    truth = torch.from_numpy(classes[SPLITS[split]]).long()
    noisy, wrong = corrupt_labels(truth, noise, noise_seed)
    labels = truth if part == "corrected" else noisy
    if part != "all":
        selected = ~wrong if part == "right" else wrong
        inputs, labels = inputs[selected], labels[selected]
    if images:
        inputs = inputs.view(-1, 1, 8, 8)
    return list(zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True))
