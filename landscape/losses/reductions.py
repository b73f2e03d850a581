"""Losses that say how they reduce a batch: to its sum, or not at all. What is measured is then a mean over samples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from landscape.data.trees import leaves
from landscape.errors import TaskError
from landscape.losses.protocol import OutputStructure

Reduction = Literal["mean", "sum", "none"]
DECLARE = "loss.reduction = 'sum' says so; or --objective FILE.py:function(model, batch) that returns (sum, count)"


@dataclass(frozen=True)
class ReducedLoss:
    """A function `(output, target)` that returns the sum over a batch, or with `none` numbers `(N, ...)`.

    The mean over samples is measured: the sum divided by the number of samples, or each sample's mean.
    """

    function: Callable[[Any, Any], Any]
    name: str
    reduction: Reduction
    structure: OutputStructure = OutputStructure()

    @property
    def note(self) -> str:
        """What is measured, in a sentence."""
        return describe_reduction(self.name, self.reduction)

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss `()`; raises TaskError for a shape that does not go with the reduction."""
        value = torch.as_tensor(self.function(output, target))
        samples = self.count(target)
        if self.reduction == "sum" and value.numel() == 1:
            return value.reshape(())
        if self.reduction == "none" and value.ndim > 0 and len(value) == samples:
            return value.reshape(samples, -1).mean(dim=1).sum()
        raise TaskError(
            f"loss {self.name} has reduction={self.reduction!r}, and returned shape {tuple(value.shape)} "
            f"for {samples} samples",
            fix="return shape () with 'sum', one row per sample with 'none'",
        )

    def count(self, target: Any) -> int:
        """How many samples the targets have."""
        return len(next(leaves(target)))


def reduction_of(loss: Any) -> Reduction:
    """The reduction that a loss states: as the keyword of a partial function, or as an attribute; else the mean."""
    keywords = loss.keywords if isinstance(loss, functools.partial) else {}
    declared = keywords.get("reduction", getattr(loss, "reduction", None))
    return declared if declared in ("sum", "none") else "mean"


def describe_reduction(name: str, reduction: Reduction) -> str:
    """A note on what is measured of a loss with this reduction; "" for the mean."""
    if reduction == "mean":
        return ""
    what = "the sum divided by the number of samples" if reduction == "sum" else "the mean of what it returns"
    return f"loss {name} has reduction={reduction!r}: {what} is measured"
