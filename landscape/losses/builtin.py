"""The built-in losses: cross-entropy, squared error and binary cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from landscape.errors import TaskError
from landscape.losses.protocol import (
    IGNORE_INDEX,
    Likelihood,
    OutputStructure,
    Uniform,
    describe_tensor,
)
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxTargets, chunks, large_softmax, softmax_of

PROBABILITY_SUM_ERROR = 1e-2  # of the sum of class probabilities: float16 rows add to 1 that far


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(output)[target], averaged over every target that is not -100.

    Output `(..., C)` with integer targets `(...)` (the class axis is the last), or `(N, C, ...)` with targets
    `(N, ...)` as in torch; a float target of the output's shape holds class probabilities `(N, C)`.
    """

    name: str = "cross_entropy"
    structure: OutputStructure = OutputStructure("classes", canonical_link=True, likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """The summed loss `()`; raises TaskError for fewer than two classes."""
        if (large := large_softmax(self, output, target)) is not None:
            return large.total()
        if not target.is_floating_point() and output.shape[:-1] == target.shape:
            output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1)
        target = target if target.is_floating_point() else target.long()
        if output.ndim < 2 or output.shape[1] < 2:
            shapes = f"output {describe_tensor(output)}, target {describe_tensor(target)}"
            raise TaskError(
                f"cross_entropy needs at least two classes: {shapes}",
                fix="--loss bce for one logit per sample, --loss mse for real targets",
            )
        return functional.cross_entropy(output, target, reduction="sum", ignore_index=IGNORE_INDEX)

    def as_softmax(self, output: Tensor, target: Tensor) -> SoftmaxCrossEntropy | None:
        """The closed form of the loss; None for shapes that do not fit."""
        axis = self.structure.axis(output, target)
        assert axis is not None
        return softmax_of(output, axis, SoftmaxTargets(target)) if output.ndim > 1 else None

    def count(self, target: Tensor) -> int:
        """How many targets are not -100; raises TaskError for real targets that are no class probabilities."""
        return count_distributions(target) if target.is_floating_point() else int((target != IGNORE_INDEX).sum())

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Classes drawn from the softmax of the output, in the form of `target`."""
        axis = self.structure.axis(output, target)
        assert axis is not None
        return draw_classes(output, axis, target, uniform, IGNORE_INDEX)


@dataclass(frozen=True)
class MeanSquaredError:
    """(output - target)^2, averaged over every element, as torch's `mse_loss`."""

    name: str = "mse"
    structure: OutputStructure = OutputStructure("squared_error", canonical_link=True, likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """The sum of squares `()`; raises TaskError for unequal shapes."""
        require_equal_shapes(self.name, output, target)
        return functional.mse_loss(output, target.to(output.dtype), reduction="sum")

    def count(self, target: Tensor) -> int:
        """How many elements the targets have."""
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Normal targets of variance 1/2, of which (output - target)^2 is the negative log-likelihood."""
        normal: Tensor = torch.special.ndtri(uniform(tuple(output.shape)))
        return (output.double() + normal / math.sqrt(2)).to(output.dtype)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of logits with targets in [0, 1], averaged over every element."""

    name: str = "bce"
    structure: OutputStructure = OutputStructure("binary", canonical_link=True, likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """The summed loss `()`; raises TaskError for unequal shapes."""
        require_equal_shapes(self.name, output, target)
        return functional.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="sum")

    def count(self, target: Tensor) -> int:
        """How many elements the targets have; raises TaskError for one outside [0, 1]."""
        if bool(((target < 0) | (target > 1)).any()):
            raise TaskError("bce has targets outside [0, 1]", fix="--loss mse for real targets")
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Targets 0 or 1, drawn with the sigmoid of the output as the probability of 1."""
        return (uniform(tuple(output.shape)) < output.double().sigmoid()).to(output.dtype)


CROSS_ENTROPY, MSE, BCE = CrossEntropy(), MeanSquaredError(), BinaryCrossEntropy()
BUILT_IN_LOSSES: dict[str, Likelihood] = {loss.name: loss for loss in (CROSS_ENTROPY, MSE, BCE)}


def draw_classes(
    output: Tensor, axis: int, target: Tensor, uniform: Uniform, ignore_index: int, *, log_probabilities: bool = False
) -> Tensor:
    """Classes drawn by inverting the cumulative probabilities, in the form of `target`, by chunks.

    The output holds logits, or `log_probabilities`, along the axis. Ignored targets stay ignored; class probabilities
    become one-hot vectors.
    """
    rows = output.movedim(axis, -1)
    points = uniform(tuple(rows.shape[:-1]))
    drawn = torch.empty(rows.shape[:-1], dtype=torch.long, device=rows.device)
    for place in chunks(rows):
        piece = rows[place].double()
        cumulative = (piece.exp() if log_probabilities else piece.softmax(-1)).cumsum(-1)
        point = points[place][..., None] * cumulative[..., -1:]
        drawn[place] = (cumulative < point).sum(-1).clamp_max(rows.shape[-1] - 1)
    if target.is_floating_point():
        return functional.one_hot(drawn, rows.shape[-1]).movedim(-1, axis).to(target.dtype)
    return torch.where(target == ignore_index, target, drawn.to(target.dtype))


def count_distributions(target: Tensor) -> int:
    """How many distributions over classes `(N, C, ...)` holds; raises TaskError for targets that are none."""
    if target.ndim < 2:
        raise TaskError(
            f"cross_entropy has real targets {describe_tensor(target)}",
            fix="integer classes (N,), or class probabilities (N, C); --loss mse or bce for real targets",
        )
    sums = target.sum(dim=1)
    if bool((target < 0).any()) or not bool((torch.abs(sums - 1) < PROBABILITY_SUM_ERROR).all()):
        raise TaskError(
            "cross_entropy has real targets that are not class probabilities",
            why="they are negative, or do not add to 1 over the classes",
            fix="--loss mse for real targets, integer classes, or probabilities (N, C)",
        )
    return target.numel() // target.shape[1]


def require_equal_shapes(name: str, output: Tensor, target: Tensor) -> None:
    """Raises TaskError if outputs and targets of an element-wise loss have different shapes."""
    if output.shape != target.shape:
        raise TaskError(
            f"{name} needs equal shapes: output {describe_tensor(output)}, target {describe_tensor(target)}",
            why="broadcasting would pair every output with every target",
            fix="reshape in the model or in the data, e.g. target.unsqueeze(-1)",
        )
