"""A loss of logits whose scale has been taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from landscape.choices import LogitNorm
from landscape.errors import TaskError
from landscape.losses.huggingface import LogitsLoss
from landscape.losses.loss import Loss
from landscape.losses.predictions import class_axis


@dataclass(frozen=True)
class NormalizedLoss:
    """A loss of (z - mean z) / size, with the size of each sample's centred logits `(..., C)`.

    `l2` divides by their Euclidean norm, as the code of Andriushchenko et al. (2023) does; `std` by their standard
    deviation, which is sqrt(C) times smaller. Scaling all logits then changes nothing.
    """

    inner: Loss
    by: LogitNorm

    @property
    def name(self) -> str:
        return f"{self.inner.name} of logits / {self.by}"

    def total(self, output: Any, target: Any) -> Tensor:
        axis = self.class_axis(output, target)
        centred = output - output.mean(dim=axis, keepdim=True)
        size = torch.linalg.vector_norm(centred, dim=axis, keepdim=True)
        if self.by == "std":
            size = size / output.shape[axis] ** 0.5
        return self.inner.total(centred / size, target)

    def count(self, target: Any) -> int:
        return self.inner.count(target)

    def class_axis(self, output: Any, target: Any) -> int:
        """The axis of the output that holds the classes."""
        axis = class_axis(self.inner, output, target)
        if axis is None:
            raise TaskError(
                f"--logit-norm needs logits with classes, and the loss is {self.inner.name}",
                fix="--logit-norm none, or --loss cross_entropy",
            )
        return axis


def with_normalized_logits(loss: Loss, by: LogitNorm) -> Loss:
    """The loss with its logits normalised, or as it is for `none`."""
    if by == "none":
        return loss
    if isinstance(loss, LogitsLoss):
        return replace(loss, inner=NormalizedLoss(loss.inner, by))
    return NormalizedLoss(loss, by)
