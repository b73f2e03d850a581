"""The 1797 8x8 handwritten digits of the UCI repository (the set that scikit-learn ships), in a fixed order.

`digits.npz` holds them once, shuffled once: the first 1300 are the training set. Source: E. Alpaydin and
C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
"""

from __future__ import annotations

from importlib import resources
from typing import Literal

import numpy as np
import torch
from torch import Tensor

TRAINING = 1300
CLASSES = 10
SPLITS = {"train": slice(0, TRAINING), "test": slice(TRAINING, None), "all": slice(None)}


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(1797, 64)` in 0..16 and labels `(1797,)`, both uint8."""
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        return stored["pixels"], stored["labels"]


def wrong_labels(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """`labels` `(N,)` with round(share * N) of them replaced by another class, and the mask of which.

    `RandomState` because its stream is frozen (NEP 19): a sample must mean the same under every NumPy.
    """
    random = np.random.RandomState(seed)
    chosen = torch.from_numpy(random.permutation(len(labels))[: round(share * len(labels))])
    shift = torch.from_numpy(random.randint(1, CLASSES, len(chosen)))
    noisy, mask = labels.clone(), torch.zeros(len(labels), dtype=torch.bool)
    noisy[chosen] = (labels[chosen] + shift) % CLASSES
    mask[chosen] = True
    return noisy, mask


def digits(
    split: str = "train",
    *,
    images: bool = False,
    standardised: bool = False,
    noise: float = 0.0,
    noise_seed: int = 0,
    part: Literal["all", "wrong", "right", "corrected"] = "all",
    batch_size: int = 256,
) -> list[tuple[Tensor, Tensor]]:
    """Batches of pixels in [0, 1], `(n, 64)` or `(n, 1, 8, 8)` if `images`, with int64 labels `(n,)`.

    `split` is `train` (1300), `test` (497) or `all`. With `standardised` every pixel has mean 0 and variance 1 over the
    training set. A share `noise` of the labels is replaced; `part` takes the samples whose label is then `wrong`, those
    where it is `right`, or the former with their labels `corrected`.
    """
    pixels, classes = arrays()
    inputs = torch.from_numpy(pixels[SPLITS[split]]).float() / 16
    if standardised:
        known = torch.from_numpy(pixels[SPLITS["train"]]).float() / 16
        spread = known.std(dim=0)
        inputs = torch.where(spread > 0, (inputs - known.mean(dim=0)) / spread, 0.0)
    truth = torch.from_numpy(classes[SPLITS[split]]).long()
    noisy, wrong = wrong_labels(truth, noise, noise_seed)
    labels = truth if part == "corrected" else noisy
    if part != "all":
        chosen = ~wrong if part == "right" else wrong
        inputs, labels = inputs[chosen], labels[chosen]
    if images:
        inputs = inputs.view(-1, 1, 8, 8)
    return list(zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True))
