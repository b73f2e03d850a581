"""What a loss is to landscape: a sum with a count, a name, and a declaration of how it reads a model's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeGuard

import torch
from torch import Tensor

from landscape.errors import TaskError

IGNORE_INDEX = -100  # the label that torch's and Hugging Face's losses leave out
Predictions = Literal["classes", "binary", "squared_error", "unknown"]
Uniform = Callable[[tuple[int, ...]], Tensor]  # numbers in (0, 1) of a shape with samples along axis 0


@dataclass(frozen=True)
class OutputStructure:
    """How a loss reads a model's output and a batch's targets. The default declares nothing.

    A loss that declares its structure is measured as the built-in ones are: with accuracies, exact Fisher labels and
    masks of the labels that count. `kind` is the meaning of an output entry:

    - `classes`: the logits of one prediction lie along `class_axis`. None is the last axis if the labels have the shape
      of the others, else axis 1, as in torch. Labels equal to `ignore_index` are left out.
    - `binary`: each entry is the logit of one yes-or-no question, with labels 0 and 1.
    - `squared_error`: the loss is the sum of (output - target)^2.
    - `unknown`: anything else.

    With `shift` the output at a token is scored against the label of the next token: landscape gives `total` the output
    without its last token. `canonical_link` says that the loss's Hessian in the output is that of softmax
    cross-entropy, of binary cross-entropy, or of the squared error, without weights. `likelihood` says that the loss
    has a method `sample`, which draws targets from the distribution whose negative logarithm the loss is. With
    `log_probabilities` the entries of classes are not logits but already logarithms of probabilities, as `NLLLoss`
    takes them. Labels, link and the kind of entries are checked on the first samples.

    A loss of outputs or targets in containers overrides `scored_output` and `labels`.
    """

    kind: Predictions = "unknown"
    class_axis: int | None = None
    ignore_index: int = IGNORE_INDEX
    shift: bool = False
    canonical_link: bool = False
    likelihood: bool = False
    log_probabilities: bool = False

    @property
    def has_classes(self) -> bool:
        """Whether predictions are right or wrong."""
        return self.kind in ("classes", "binary")

    def scored_output(self, output: Any) -> Any:
        """The part of a model's output that the loss takes."""
        return output[:, :-1] if self.shift else output

    def labels(self, target: Any) -> Any:
        """The labels of a batch's targets that the scored output is compared with."""
        return target[:, 1:] if self.shift else target

    def axis(self, output: Any, target: Any) -> int | None:
        """The axis of the scored output along which the classes lie; None if there are none."""
        if self.kind != "classes" or not isinstance(output, Tensor):
            return None
        if self.class_axis is not None:
            return self.class_axis % output.ndim
        labels = self.labels(target)
        return output.ndim - 1 if not labels.is_floating_point() and output.shape[:-1] == labels.shape else 1

    def label_mask(self, output: Any, target: Any) -> Tensor | None:
        """Which labels count, in their shape; None if all do."""
        if self.axis(output, target) is None:
            return None
        labels: Tensor = self.labels(target)
        return None if labels.is_floating_point() else labels != self.ignore_index


class Loss(Protocol):
    """A loss as a sum over the terms that it counts; the mean is `total / count`, taken over all batches at once.

    >>> from landscape.losses import as_loss
    >>> loss = as_loss("cross_entropy")
    >>> loss.name, loss.structure.kind
    ('cross_entropy', 'classes')
    """

    @property
    def name(self) -> str:
        """How the loss is called in results and messages."""

    @property
    def structure(self) -> OutputStructure:
        """How the loss reads the model's output."""

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss of one batch, shape `()`, differentiable in `output`."""

    def count(self, target: Any) -> float:
        """How many terms the sum has: samples, tokens, elements, or the sum of their weights.

        Raises TaskError for targets outside the loss's domain.
        """


class Likelihood(Loss, Protocol):
    """A loss that is the negative logarithm of a probability of the targets given the output."""

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Targets drawn from the model's own distribution, of the shape and kind of `target`."""


def is_likelihood(loss: Loss) -> TypeGuard[Likelihood]:
    """Whether a loss can draw targets from the model's own distribution."""
    return loss.structure.likelihood


def no_likelihood(name: str, fix: str = "--operator ggn or empirical-fisher") -> TaskError:
    """The error for a loss whose targets have no known distribution."""
    return TaskError(
        f"loss {name} is not the likelihood of a known distribution: no labels can be drawn for the Fisher matrix",
        fix=f"{fix}, or --loss cross_entropy, mse or bce",
    )


def describe_tensor(value: Any) -> str:
    """A tensor's shape and dtype, or the type of anything else, for messages."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, torch.Tensor) else type(value).__name__
