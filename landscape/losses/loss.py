"""Losses as sums with counts, divided once at the end: a mean of batch means is wrong on a ragged last batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data.batches import leaves
from landscape.errors import TaskError, suggest

TAKE_APART = "a loss that takes the output apart: --loss file.py:loss, with def loss(output, target) -> mean, shape ()"
IGNORED = -100  # the target that torch's and Hugging Face's losses skip


class Loss(Protocol):
    """A loss as a sum over what it counts; the mean is `total / count`, taken over all batches at once."""

    @property
    def name(self) -> str:
        """How the loss is called in results and messages."""

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss of one batch, shape `()`, differentiable in `output`."""

    def count(self, target: Any) -> int:
        """How many terms the sum has: samples, tokens or elements; TaskError for targets outside the loss's domain."""


Uniform = Callable[[tuple[int, ...]], Tensor]  # numbers in (0, 1) of a shape with samples along axis 0


@runtime_checkable
class Likelihood(Protocol):
    """A loss that is the negative logarithm of a probability of the targets given the output."""

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Targets drawn from the model's own distribution, of the shape and kind of `target`."""


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(output)[target], averaged over every target that is not -100.

    Output `(..., C)` with integer targets `(...)` (the class axis is the last), or `(N, C, ...)` with targets
    `(N, ...)` as in torch; a float target of the output's shape holds class probabilities `(N, C)`.
    """

    name: str = "cross_entropy"

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        if not target.is_floating_point() and output.shape[:-1] == target.shape:
            output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1)
        target = target if target.is_floating_point() else target.long()
        if output.ndim < 2 or output.shape[1] < 2:
            raise TaskError(
                f"cross_entropy needs at least two classes: output {_shape(output)}, target {_shape(target)}",
                fix="--loss bce for one logit per sample, --loss mse for real targets",
            )
        return functional.cross_entropy(output, target, reduction="sum", ignore_index=IGNORED)

    def count(self, target: Tensor) -> int:
        return _distributions(target) if target.is_floating_point() else int((target != IGNORED).sum())

    def class_axis(self, output: Tensor, target: Tensor) -> int:
        """The axis of the output that holds the classes."""
        return output.ndim - 1 if not target.is_floating_point() and output.shape[:-1] == target.shape else 1

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        axis = self.class_axis(output, target)
        return _drawn_classes(output.double().softmax(axis), axis, target, uniform, IGNORED)


@dataclass(frozen=True)
class MeanSquaredError:
    """(output - target)^2, averaged over every element, as torch's `mse_loss`."""

    name: str = "mse"

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        _same_shape(self.name, output, target)
        return functional.mse_loss(output, target.to(output.dtype), reduction="sum")

    def count(self, target: Tensor) -> int:
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """(output - target)^2 is the negative log-likelihood of a normal distribution of variance 1/2."""
        normal: Tensor = torch.special.ndtri(uniform(tuple(output.shape)))
        return (output.double() + normal / math.sqrt(2)).to(output.dtype)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of logits with targets in [0, 1], averaged over every element."""

    name: str = "bce"

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        _same_shape(self.name, output, target)
        return functional.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="sum")

    def count(self, target: Tensor) -> int:
        if bool(((target < 0) | (target > 1)).any()):
            raise TaskError("bce has targets outside [0, 1]", fix="--loss mse for real targets")
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        return (uniform(tuple(output.shape)) < output.double().sigmoid()).to(output.dtype)


@dataclass(frozen=True)
class FunctionLoss:
    """A function `(output, target) -> mean loss ()` or `-> losses (N,)`, weighted by the batch's samples."""

    function: Callable[[Any, Any], Tensor]
    name: str

    def total(self, output: Any, target: Any) -> Tensor:
        value = self.function(output, target)
        samples = self.count(target)
        if value.ndim == 0:
            return value * samples
        if value.shape == (samples,):
            return value.sum()
        raise TaskError(
            f"loss {self.name} returned shape {tuple(value.shape)} for {samples} samples",
            fix="return the batch's mean, shape (), or one loss per sample, shape (N,)",
        )

    def count(self, target: Any) -> int:
        return len(next(leaves(target)))


@dataclass(frozen=True)
class ModuleLoss:
    """A `torch.nn` loss module whose reduction is a mean over elements or unignored targets."""

    module: nn.Module
    name: str

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        if isinstance(self.module, PER_ELEMENT):
            _same_shape(self.name, output, target)
        value: Tensor = self.module(output, target)
        return value

    def count(self, target: Tensor) -> int:
        ignored = getattr(self.module, "ignore_index", None)
        if ignored is None:
            return target.numel()
        return _distributions(target) if target.is_floating_point() else int((target != ignored).sum())

    def class_axis(self, output: Tensor, target: Tensor) -> int | None:
        """The axis of the output that holds the classes; None if the loss has none."""
        return 1 if isinstance(self.module, PER_TARGET) else None

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Raises TaskError if the loss is not the negative logarithm of a known distribution."""
        module = self.module
        if isinstance(module, nn.MSELoss):
            return BY_NAME["mse"].sample(output, target, uniform)  # type: ignore[attr-defined, no-any-return]
        if isinstance(module, nn.BCEWithLogitsLoss) and module.weight is None and module.pos_weight is None:
            return BY_NAME["bce"].sample(output, target, uniform)  # type: ignore[attr-defined, no-any-return]
        if isinstance(module, PER_TARGET) and not getattr(module, "label_smoothing", 0.0):
            logarithms = output.double().log_softmax(1) if isinstance(module, nn.CrossEntropyLoss) else output.double()
            return _drawn_classes(logarithms.exp(), 1, target, uniform, module.ignore_index)
        raise no_likelihood(self.name)


BY_NAME: dict[str, Loss] = {loss.name: loss for loss in (CrossEntropy(), MeanSquaredError(), BinaryCrossEntropy())}
BY_FUNCTION: dict[Any, Loss] = {
    functional.mse_loss: BY_NAME["mse"],
    functional.binary_cross_entropy_with_logits: BY_NAME["bce"],
}
PER_ELEMENT = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss)
PER_TARGET = (nn.CrossEntropyLoss, nn.NLLLoss)


def as_loss(loss: Any) -> Loss:
    """The Loss meant by a name, a `torch.nn` loss module, a function, or an object with `total` and `count`.

    Raises TaskError for anything else, and for class weights (their mean has no count known from the targets).
    """
    if isinstance(loss, str):
        if loss not in BY_NAME:
            raise TaskError(f"there is no loss called {suggest(loss, BY_NAME)}", fix=f"one of {', '.join(BY_NAME)}, hf")
        return BY_NAME[loss]
    if isinstance(loss, type):
        raise TaskError(f"loss {loss.__name__} is a class", fix="name a function, or an instance of the class")
    if hasattr(loss, "total") and hasattr(loss, "count"):
        named: Loss = loss
        return named
    if isinstance(loss, PER_ELEMENT + PER_TARGET):
        return _module_loss(loss)
    if callable(loss):
        name = getattr(loss, "__qualname__", type(loss).__qualname__)
        if loss is functional.cross_entropy:
            return _module_loss(nn.CrossEntropyLoss())  # the class axis is then torch's, not the last
        return BY_FUNCTION.get(loss) or FunctionLoss(loss, name)
    raise TaskError(f"{loss!r} is not a loss", fix=f"give {', '.join(BY_NAME)}, or a function (output, target) -> mean")


def infer(output: Any, target: Any) -> Loss:
    """The loss that the shapes leave no doubt about: logits with integer targets, or equal float shapes."""
    if isinstance(output, Tensor) and isinstance(target, Tensor):
        integers = not target.is_floating_point() and target.dtype != torch.bool
        if integers and output.ndim == target.ndim + 1 and output.shape[:-1] == target.shape:
            return BY_NAME["cross_entropy"]
        if target.is_floating_point() and output.shape == target.shape and not _chances(target):
            return BY_NAME["mse"]
    elif not isinstance(output, Tensor):
        raise TaskError(
            f"no loss is given, and the model returns a {type(output).__name__}",
            fix=TAKE_APART,
        )
    raise TaskError(
        f"no loss is given and the data do not tell: output {_shape(output)}, target {_shape(target)}",
        fix=f"--loss {'|'.join(BY_NAME)} or --loss pkg.mod:function",
    )


def _chances(target: Tensor) -> bool:
    """Whether real targets may be labels or class probabilities: nothing but 0 and 1, or rows that add to 1."""
    bits = bool(((target == 0) | (target == 1)).all()) and bool((target == 1).any())
    rows = target.ndim > 1 and target.shape[-1] > 1 and bool((target >= 0).all())
    return bits or (rows and bool((torch.abs(target.sum(-1) - 1) < 1e-2).all()))


def _module_loss(module: nn.Module) -> ModuleLoss:
    name = type(module).__name__
    weighted = isinstance(module, PER_TARGET) and module.weight is not None
    if weighted or module.reduction != "mean":
        raise TaskError(
            f"{name} with {'class weights' if weighted else f'reduction={module.reduction!r}'} has no plain mean",
            fix="pass a function (output, target) -> one loss per sample, shape (N,)",
        )
    summed = copy.deepcopy(module)
    setattr(summed, "reduction", "sum")  # noqa: B010 - torch types attributes as tensors
    return ModuleLoss(summed, name)


def no_likelihood(name: str, fix: str = "--operator ggn or empirical-fisher") -> TaskError:
    """The error for a loss of which no distribution of the targets is known."""
    return TaskError(
        f"loss {name} is not the likelihood of a known distribution: no labels can be drawn for the Fisher matrix",
        fix=f"{fix}, or --loss cross_entropy, mse or bce",
    )


def _drawn_classes(chances: Tensor, axis: int, target: Tensor, uniform: Uniform, ignored: int) -> Tensor:
    """Classes by inverting the cumulative chances; ignored targets stay ignored, class probabilities become one-hot."""
    cumulative = chances.movedim(axis, -1).cumsum(-1)
    point = uniform(tuple(cumulative.shape[:-1]))[..., None] * cumulative[..., -1:]
    drawn = (cumulative < point).sum(-1).clamp_max(cumulative.shape[-1] - 1)
    if target.is_floating_point():
        return functional.one_hot(drawn, cumulative.shape[-1]).movedim(-1, axis).to(target.dtype)
    return torch.where(target == ignored, target, drawn.to(target.dtype))


def _distributions(target: Tensor) -> int:
    """How many distributions over the classes `(N, C, ...)` holds."""
    if target.ndim < 2:
        raise TaskError(
            f"cross_entropy has real targets {_shape(target)}",
            fix="integer classes (N,), or class probabilities (N, C); --loss mse or bce for real targets",
        )
    sums = target.sum(dim=1)
    if bool((target < 0).any()) or not bool((torch.abs(sums - 1) < 1e-2).all()):  # float16 rows add to 1 that far
        raise TaskError(
            "cross_entropy has real targets that are not class probabilities",
            why="they are negative, or do not add to 1 over the classes",
            fix="--loss mse for real targets, integer classes, or probabilities (N, C)",
        )
    return target.numel() // target.shape[1]


def _same_shape(name: str, output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise TaskError(
            f"{name} needs equal shapes: output {_shape(output)}, target {_shape(target)}",
            why="broadcasting would pair every output with every target",
            fix="reshape in the model or in the data, e.g. target.unsqueeze(-1)",
        )


def _shape(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
