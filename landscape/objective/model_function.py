"""A model's output, and a batch's loss, as functions of one flat parameter vector. Only here is a model called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.compute import memory
from landscape.data.batches import Batch, map_tensors
from landscape.errors import LandscapeError, TaskError
from landscape.losses.preflight import shapes
from landscape.losses.protocol import Loss
from landscape.network.attention import without_fast_path
from landscape.network.recomputation import without_recomputation
from landscape.network.space import ParameterSpace
from landscape.network.weight_norm import UnfusedWeightNorm
from landscape.network.wrappers import eval_mode

T = TypeVar("T")
Theta = Tensor | Mapping[str, Tensor]  # the parameters as one vector `(P,)`, or by name


@dataclass(frozen=True)
class ModelFunction:
    """A module's output as a function of theta `(P,)`; parameters outside `space`, and buffers, are `fixed`.

    `needs_gradients` says that the module computes its output only, or only rightly, while gradients are recorded: it
    differentiates in its inputs (forces, physics-informed nets), or torch runs another kernel without gradients.
    """

    module: nn.Module
    space: ParameterSpace
    fixed: Mapping[str, Tensor]
    weight_norm: bool = False
    needs_gradients: bool = False

    def output(self, theta: Theta, batch: Batch) -> Any:
        """Everything that the module returns for a batch, differentiable in theta as often as needed."""
        return self.forward(theta, lambda point: self._call(point, batch))

    def forward(self, theta: Theta, work: Callable[[Theta], T]) -> T:
        """`work(theta)`, a pass through the module.

        Under `torch.no_grad` a module that needs gradients gets them, and the result is detached.
        """
        if not self.needs_gradients or torch.is_grad_enabled():
            return work(theta)
        with torch.enable_grad():
            result: T = map_tensors(Tensor.detach, work(self._with_gradients(theta)))
            return result

    def _with_gradients(self, theta: Theta) -> Theta:
        if isinstance(theta, Tensor):
            return theta.detach().requires_grad_()
        names = set(self.space.names)
        return {name: t.detach().requires_grad_() if name in names else t for name, t in theta.items()}

    def _call(self, theta: Theta, batch: Batch) -> Any:
        args, kwargs = batch.arguments
        state = {**self.fixed, **(self.space.unflatten(theta) if isinstance(theta, Tensor) else theta)}
        unfused = UnfusedWeightNorm() if self.weight_norm else nullcontext()
        # the fused attention kernels have no second derivative
        with (
            eval_mode(self.module),
            sdpa_kernel(SDPBackend.MATH),
            without_fast_path(),
            unfused,
            without_recomputation(),
        ):
            return functional_call(self.module, state, args, kwargs)


class BatchLoss:
    """The summed loss of one batch as a function of theta `(P,)`: a model's output, and a loss of it."""

    def __init__(self, function: ModelFunction, loss: Loss) -> None:
        self.function = function
        self.loss = loss

    @property
    def model(self) -> nn.Module:
        """The user's module without its wrappers."""
        return self.function.module

    @property
    def space(self) -> ParameterSpace:
        """The parameters that theta holds, in order."""
        return self.function.space

    def model_output(self, theta: Theta, batch: Batch) -> Any:
        """Everything that the model returns for a batch at theta."""
        return self.function.output(theta, batch)

    def scored_output(self, output: Any) -> Any:
        """The part of a model's output that the loss takes."""
        return self.loss.structure.scored_output(output)

    def batch_output(self, theta: Theta, batch: Batch) -> Any:
        """The part of the model's output on one batch that the loss takes, differentiable in theta."""
        return reraise_user_errors(batch, lambda: self.scored_output(self.model_output(theta, batch)))

    def loss_total(self, output: Any, batch: Batch, targets: Any = None) -> Tensor:
        """The summed loss of an output, shape (), with the batch's targets or with `targets` in their place."""
        return reraise_user_errors(
            batch, lambda: self.loss.total(output, batch.targets if targets is None else targets)
        )

    def batch_total(self, theta: Theta, batch: Batch) -> Tensor:
        """The summed loss of one batch at theta, shape (), differentiable in theta as often as needed.

        Theta is one vector `(P,)`, or its tensors by name.
        """

        def total(point: Theta) -> Tensor:
            """The loss of the model's output at the point."""
            return self.loss.total(self.scored_output(self.model_output(point, batch)), batch.targets)

        return reraise_user_errors(batch, lambda: self.function.forward(theta, total))

    def batch_gradient(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss of one batch, shape (), float64, and its gradient `(P,)`."""
        point = theta.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.batch_total(point, batch)
            (gradient,) = torch.autograd.grad(total, point)
        return total.detach().double(), gradient


def reraise_user_errors(batch: Batch, work: Callable[[], T]) -> T:
    """Runs `work`; any exception of the user's code becomes a TaskError with the batch's shapes."""
    try:
        return work()
    except LandscapeError:
        raise
    except Exception as error:  # the user's model and loss may raise anything
        if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
            raise
        raise TaskError(
            f"the model or the loss fails on a batch: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(batch.inputs)}, targets of {shapes(batch.targets)}",
            fix="check the targets' range and dtype, --loss, and the model; --debug shows the traceback",
        ) from error
