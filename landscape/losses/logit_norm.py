"""A loss of logits whose scale has been divided out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from landscape.choices import LogitNorm
from landscape.errors import TaskError
from landscape.losses.protocol import Loss, OutputStructure


@dataclass(frozen=True)
class NormalizedLoss:
    """A loss of (z - mean z) / size, with the size of each sample's centered logits `(..., C)`.

    `l2` divides by their Euclidean norm, as the code of Andriushchenko et al. (2023) does; `std` by their standard
    deviation, which is sqrt(C) times smaller. Scaling all logits then changes nothing.
    """

    inner: Loss
    by: LogitNorm

    @property
    def name(self) -> str:
        """The inner loss's name and the norm."""
        return f"{self.inner.name} of logits / {self.by}"

    @cached_property
    def structure(self) -> OutputStructure:
        """That of the inner loss, but its Hessian in the output, and its distribution, are others."""
        return replace(self.inner.structure, canonical_link=False, likelihood=False)

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss `()` of the normalized logits; raises TaskError for a loss without classes."""
        axis = self.structure.axis(output, target)
        if axis is None:
            raise TaskError(
                f"--logit-norm needs logits with classes, and the loss is {self.inner.name}",
                fix="--logit-norm none, or --loss cross_entropy",
            )
        centered = output - output.mean(dim=axis, keepdim=True)
        size = torch.linalg.vector_norm(centered, dim=axis, keepdim=True)
        if self.by == "std":
            size = size / output.shape[axis] ** 0.5
        return self.inner.total(centered / size, target)

    def count(self, target: Any) -> float:
        """How many terms the inner loss counts."""
        return self.inner.count(target)


def with_normalized_logits(loss: Loss, by: LogitNorm) -> Loss:
    """The loss of normalized logits, or for `none` the loss as it is."""
    return loss if by == "none" else NormalizedLoss(loss, by)
