"""The user's losses: functions, `torch.nn` modules, objects with `total` and `count`, or none at all."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.data.trees import common_length
from landscape.errors import TaskError, suggest
from landscape.losses.builtin import (
    BCE,
    BUILT_IN_LOSSES,
    CROSS_ENTROPY,
    MSE,
    PROBABILITY_SUM_ERROR,
    count_distributions,
    draw_classes,
    require_equal_shapes,
)
from landscape.losses.protocol import (
    Loss,
    OutputStructure,
    Uniform,
    describe_tensor,
    no_likelihood,
)
from landscape.losses.reductions import ReducedLoss, Reduction, describe_reduction, reduction_of
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxTargets, large_softmax, softmax_of

LOSS_OF_CONTAINERS = (
    "a loss that takes the output apart: --loss file.py:loss, with def loss(output, target) -> mean, shape ()"
)
PER_ELEMENT = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss)
PER_TARGET = (nn.CrossEntropyLoss, nn.NLLLoss)
TORCH_FUNCTIONS: dict[Any, Loss] = {functional.mse_loss: MSE, functional.binary_cross_entropy_with_logits: BCE}
MODULES: dict[Any, type[nn.Module]] = {
    functional.mse_loss: nn.MSELoss,
    functional.l1_loss: nn.L1Loss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.huber_loss: nn.HuberLoss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
}  # the modules that compute what these functions do, by which a partial function's keywords are understood


@dataclass(frozen=True)
class FunctionLoss:
    """A function `(output, target) -> mean loss ()` or `-> losses (N,)`, weighted by the batch's samples."""

    function: Callable[[Any, Any], Any]
    name: str
    structure: OutputStructure = OutputStructure()

    def total(self, output: Any, target: Any) -> Tensor:
        """The summed loss `()`; raises TaskError for another shape than `()` or `(N,)`."""
        value = torch.as_tensor(self.function(output, target))
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
        """How many samples the targets have; raises TaskError if their tensors have several lengths."""
        count = common_length(target)
        if count is None:
            raise TaskError(
                f"loss {self.name} has targets of several lengths: it is not known how many losses its mean is over",
                why="each batch is one unit, which counts as one sample",
                fix="--objective FILE.py:function, with def function(model, batch) -> (sum, count)",
            )
        return count


@dataclass(frozen=True)
class ModuleLoss:
    """A `torch.nn` loss module that returns a sum over elements or unignored targets.

    `reduction` is the user's: with `sum` the mean is taken over samples, with `none` over everything that is returned.
    """

    module: nn.Module
    name: str
    reduction: Reduction = "mean"

    @property
    def note(self) -> str:
        """What is measured where the module does not return a mean; "" where it does."""
        return describe_reduction(self.name, self.reduction)

    @cached_property
    def structure(self) -> OutputStructure:
        """The module's kind; class weights and weights of elements have no canonical link, and are no likelihood."""
        module = self.module
        if isinstance(module, nn.MSELoss):
            return MSE.structure
        if isinstance(module, nn.BCEWithLogitsLoss):
            plain = module.weight is None and module.pos_weight is None
            return OutputStructure("binary", canonical_link=plain, likelihood=plain)
        if isinstance(module, PER_TARGET):
            return OutputStructure(
                "classes",
                class_axis=1,
                ignore_index=module.ignore_index,
                canonical_link=isinstance(module, nn.CrossEntropyLoss) and module.weight is None,
                likelihood=module.weight is None
                and not (isinstance(module, nn.CrossEntropyLoss) and module.label_smoothing),
                log_probabilities=isinstance(module, nn.NLLLoss),
            )
        return OutputStructure()

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """The summed loss `()`; raises TaskError for unequal shapes of an element-wise loss."""
        if isinstance(self.module, PER_ELEMENT):
            require_equal_shapes(self.name, output, target)
        if (large := large_softmax(self, output, target)) is not None:
            return large.total()
        value: Tensor = self._module_for(output)(output, target)
        return value

    def as_softmax(self, output: Tensor, target: Tensor) -> SoftmaxCrossEntropy | None:
        """The closed form of a `torch.nn.CrossEntropyLoss`; None for another module, or shapes that do not fit."""
        if type(self.module) is not nn.CrossEntropyLoss or output.ndim < 2:
            return None
        kept = self._module_for(output)
        weight, smoothing, ignored = kept.weight, kept.label_smoothing, kept.ignore_index
        targets = SoftmaxTargets(target, weight, ignored, smoothing)  # type: ignore[arg-type]
        return softmax_of(output, 1, targets)

    def _module_for(self, output: Tensor) -> nn.Module:
        """The module with its weights on the device and in the dtype of the output."""
        kind = output.device, output.dtype if output.is_floating_point() else None
        if kind not in self._modules:
            self._modules[kind] = copy.deepcopy(self.module).to(*kind)
        return self._modules[kind]

    @cached_property
    def _modules(self) -> dict[tuple[torch.device, torch.dtype | None], nn.Module]:
        """The module by device and dtype."""
        return {}

    def count(self, target: Tensor) -> float:
        """How many elements, or targets that are not ignored; with class weights the sum of their weights.

        Torch divides by the same number (`torch.nn.CrossEntropyLoss`); by the number of distributions if the targets
        are class probabilities. With another reduction: how many samples, or how many numbers the module returns.
        """
        if self.reduction == "sum":
            return len(target)
        if self.structure.kind != "classes":
            return target.numel()
        if target.is_floating_point():
            return count_distributions(target)
        if self.reduction == "none":
            return target.numel()
        counted = target[target != self.structure.ignore_index]
        weight = self.module.weight
        if not isinstance(weight, Tensor):
            return counted.numel()
        return float(weight.detach().to(device=counted.device, dtype=torch.float64)[counted.long()].sum())

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """Targets drawn as for the built-in losses; raises TaskError if no distribution is known."""
        kind = self.structure.kind
        if not self.structure.likelihood:
            raise no_likelihood(self.name)
        if kind != "classes":
            return (MSE if kind == "squared_error" else BCE).sample(output, target, uniform)
        ignored, logarithms = self.structure.ignore_index, self.structure.log_probabilities
        return draw_classes(output, 1, target, uniform, ignored, log_probabilities=logarithms)


@dataclass(frozen=True)
class UserLoss:
    """A user's object with `total` and `count` that declares no structure; it may have `name` and `sample`."""

    inner: Any

    @property
    def name(self) -> str:
        """The object's own name, or that of its class."""
        return str(getattr(self.inner, "name", type(self.inner).__qualname__))

    @cached_property
    def structure(self) -> OutputStructure:
        """Unknown, except whether the object draws targets."""
        return OutputStructure(likelihood=hasattr(self.inner, "sample"))

    def total(self, output: Any, target: Any) -> Tensor:
        """The object's own summed loss `()`."""
        value: Tensor = self.inner.total(output, target)
        return value

    def count(self, target: Any) -> float:
        """The object's own count."""
        return float(self.inner.count(target))

    def sample(self, output: Tensor, target: Tensor, uniform: Uniform) -> Tensor:
        """The object's own draws."""
        drawn: Tensor = self.inner.sample(output, target, uniform)
        return drawn


def as_loss(loss: Any) -> Loss:
    """The Loss meant by a name, a `torch.nn` loss module, a function, or an object with `total` and `count`.

    Such an object may declare its `structure`, an `OutputStructure`, and is then measured as the built-in losses are.
    A module or function with `reduction` `sum` or `none`, an attribute or a keyword of `functools.partial`, is measured
    as its mean over samples. Raises TaskError for anything else.

    >>> import torch
    >>> from landscape.losses import as_loss
    >>> loss = as_loss(lambda output, target: (output - target).abs().mean())
    >>> loss.count(torch.zeros(4, 2)), float(loss.total(torch.ones(4, 2), torch.zeros(4, 2)))
    (4, 4.0)
    """
    if isinstance(loss, str):
        if loss not in BUILT_IN_LOSSES:
            known = ", ".join(BUILT_IN_LOSSES)
            raise TaskError(f"there is no loss called {suggest(loss, BUILT_IN_LOSSES)}", fix=f"one of {known}, hf")
        return BUILT_IN_LOSSES[loss]
    if isinstance(loss, type):
        raise TaskError(f"loss {loss.__name__} is a class", fix="name a function, or an instance of the class")
    if hasattr(loss, "total") and hasattr(loss, "count"):
        return _object_loss(loss)
    if isinstance(module := _as_module(loss), PER_ELEMENT + PER_TARGET):
        return _module_loss(module)
    if callable(loss):
        inner = loss.func if isinstance(loss, functools.partial) else loss
        name = getattr(inner, "__qualname__", type(inner).__qualname__)
        reduction = reduction_of(loss)
        if reduction != "mean":
            return ReducedLoss(loss, name, reduction)
        return TORCH_FUNCTIONS.get(loss) or FunctionLoss(loss, name)
    raise TaskError(
        f"{loss!r} is not a loss", fix=f"give {', '.join(BUILT_IN_LOSSES)}, or a function (output, target) -> mean"
    )


def infer_loss(output: Any, target: Any) -> Loss:
    """The only loss that the shapes allow: logits with integer targets, or real numbers of equal shapes.

    Raises TaskError if the shapes allow several, or none.
    """
    if not isinstance(output, Tensor):
        raise TaskError(
            f"no loss is given, and the model returns a {type(output).__name__}",
            fix=LOSS_OF_CONTAINERS,
        )
    if isinstance(target, Tensor):
        integers = not target.is_floating_point() and target.dtype != torch.bool
        if integers and output.ndim == target.ndim + 1 and output.shape[:-1] == target.shape:
            return CROSS_ENTROPY
        if target.is_floating_point() and output.shape == target.shape and not _may_be_probabilities(target):
            return MSE
    raise TaskError(
        "no loss is given and the data allow several: "
        f"output {describe_tensor(output)}, target {describe_tensor(target)}",
        fix=f"--loss {'|'.join(BUILT_IN_LOSSES)} or --loss pkg.mod:function",
    )


def _object_loss(loss: Any) -> Loss:
    structure = getattr(loss, "structure", None)
    if structure is None:
        return UserLoss(loss)
    if not isinstance(structure, OutputStructure):
        raise TaskError(
            f"the structure of loss {type(loss).__qualname__} is a {type(structure).__name__}",
            fix="declare a landscape.losses.OutputStructure, or none",
        )
    if structure.likelihood and not hasattr(loss, "sample"):
        raise TaskError(
            f"loss {type(loss).__qualname__} declares a likelihood, and has no method sample",
            fix="def sample(self, output, target, uniform) -> targets, or likelihood=False",
        )
    declared: Loss = loss
    return declared


def _as_module(loss: Any) -> Any:
    """The module that computes what a function of torch does, with a partial function's keywords; else the loss."""
    if loss is functional.cross_entropy:
        return nn.CrossEntropyLoss()  # the class axis is then torch's, not the last
    if isinstance(loss, functools.partial) and loss.func in MODULES and not loss.args:
        with suppress(TypeError):  # a keyword that the module has not
            return MODULES[loss.func](**loss.keywords)
    return loss


def _module_loss(module: nn.Module) -> ModuleLoss:
    summed = copy.deepcopy(module)
    setattr(summed, "reduction", "sum")  # noqa: B010 - torch types attributes as tensors
    return ModuleLoss(summed, type(module).__name__, reduction_of(module))


def _may_be_probabilities(target: Tensor) -> bool:
    """Whether real targets may be labels or class probabilities: nothing but 0 and 1, or rows that add to 1."""
    bits = bool(((target == 0) | (target == 1)).all()) and bool((target == 1).any())
    rows = target.ndim > 1 and target.shape[-1] > 1 and bool((target >= 0).all())
    return bits or (rows and bool((torch.abs(target.sum(-1) - 1) < PROBABILITY_SUM_ERROR).all()))
