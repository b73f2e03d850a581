"""The 1797 8x8 handwritten digits of the UCI repository (the set that scikit-learn ships), in a fixed order.

`digits.npz` holds them once, shuffled once: the first 1300 are the training set. Source: E. Alpaydin and
C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
"""

from __future__ import annotations

from importlib import resources

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
    noise: float = 0.0,
    noise_seed: int = 0,
    batch_size: int = 256,
) -> list[tuple[Tensor, Tensor]]:
    """Batches of pixels in [0, 1], `(n, 64)` or `(n, 1, 8, 8)` if `images`, with int64 labels `(n,)`.

    `split` is `train` (1300), `test` (497) or `all`; a share `noise` of the labels is replaced.
    """
    pixels, classes = arrays()
    inputs = torch.from_numpy(pixels[SPLITS[split]]).float() / 16
    labels = torch.from_numpy(classes[SPLITS[split]]).long()
    if noise:
        labels, _ = wrong_labels(labels, noise, noise_seed)
    if images:
        inputs = inputs.view(-1, 1, 8, 8)
    return list(zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True))
