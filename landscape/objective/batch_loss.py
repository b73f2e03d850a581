"""The summed loss of a batch, and its gradient, as functions of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.compute.budget import is_large
from landscape.data.batches import Batch
from landscape.data.trees import copy_targets
from landscape.errors import TaskError
from landscape.losses.protocol import Loss
from landscape.losses.terms import TermsLoss, describe_objective
from landscape.network.graph_leaves import backward, hand_over_gradients
from landscape.network.inner_leaves import leaks
from landscape.network.space import ParameterSpace
from landscape.objective.model_function import ModelFunction, Theta
from landscape.objective.user_errors import reraise_user_errors
from landscape.objective.weight_decay import WeightDecay


class BatchLoss:
    """The summed loss of one batch as a function of theta `(P,)`: a model's output, and a loss of it.

    With weight decay each of the terms that the loss counts has the penalty added to it.
    """

    def __init__(self, function: ModelFunction, loss: Loss, decay: WeightDecay | None = None) -> None:
        self.function = function
        self.loss = loss
        self.decay = decay

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
        """The part of the model's output on one batch that the loss takes, differentiable in theta.

        Raises TaskError for an objective of terms, which has no outputs.
        """
        self.require_outputs()
        return self.losses_or_output(theta, batch)

    def losses_or_output(self, theta: Theta, batch: Batch) -> Any:
        """The same; the losses themselves for an objective of terms."""
        return reraise_user_errors(batch, lambda: self.scored_output(self.model_output(theta, batch)))

    def loss_total(self, output: Any, batch: Batch, targets: Any = None) -> Tensor:
        """The summed loss of an output, or of an objective's losses, shape ().

        `targets` take the place of the batch's. Weight decay is not part of it. Raises TaskError for a loss that
        depends on the parameters not only through the output.
        """
        if self.function.loss_uses_parameters:
            raise TaskError(
                f"loss {self.loss.name} depends on the parameters themselves, not on the model's output alone",
                why="this measurement takes the loss as a function of (output, target)",
                fix="--operator hessian, or a loss without penalties and parameters of its own",
            )
        return reraise_user_errors(batch, lambda: self._total(output, batch, targets))

    def batch_total(self, theta: Theta, batch: Batch) -> Tensor:
        """The summed loss of one batch at theta, shape (), differentiable in theta as often as needed.

        Theta is one vector `(P,)`, or its tensors by name.
        """
        return self.output_and_total(theta, batch)[1]

    def output_and_total(self, theta: Theta, batch: Batch) -> tuple[Any, Tensor]:
        """The part of the model's output that the loss takes, and the summed loss, of one batch at theta."""

        def work() -> tuple[Any, Tensor]:
            """The loss of the model's output, computed where the model holds theta."""
            output = self.scored_output(self.function.call(batch))
            total = self.with_graph(self._total(output, batch), theta)
            if self.function.recomputes and leaks([total]):
                raise TaskError(
                    "a block of the model leaves a tensor in an attribute or a list, from which the loss is computed",
                    why="blocks run again from their inputs, and the derivatives through that tensor would be lost",
                    fix="--recompute off, or return the tensor from the block's forward",
                )
            return output, total + self.decay_total(theta, batch) if self.decay else total

        return reraise_user_errors(batch, lambda: self.function.forward(theta, work))

    def with_graph(self, total: Tensor, theta: Theta) -> Tensor:
        """Sums of losses at theta; those of an objective can be differentiated also where they are constant."""
        if not isinstance(self.loss, TermsLoss) or not torch.is_grad_enabled():
            return total
        return self.loss.with_graph(total, theta)

    def batch_count(self, batch: Batch) -> float:
        """How many terms the loss adds up over a batch; those of an objective are scaled to count samples."""
        return float(batch.size) if isinstance(self.loss, TermsLoss) else self.loss.count(batch.targets)

    def decay_total(self, theta: Theta, batch: Batch) -> Tensor | float:
        """The penalty of weight decay, once for each term that the loss adds up over the batch."""
        return self.batch_count(batch) * self.decay.penalty(self.function.weights(theta)) if self.decay else 0.0

    def require_outputs(self) -> None:
        """Raises TaskError for an objective of terms: a measurement needs the outputs that the losses are of."""
        if isinstance(self.loss, TermsLoss):
            subject = describe_objective(self.loss.name)
            raise TaskError(
                f"{subject} returns losses, and this measurement needs the outputs that they are of",
                fix="give the function the attributes outputs(model, batch), targets(batch) and loss, and leave --term "
                "out; eig, density and trace need none with --operator hessian or empirical-fisher",
            )

    def batch_gradient(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss of one batch, shape (), float64, and its gradient `(P,)`."""
        if is_large(len(theta)) and self.function.resident is None:
            return self._gradient_by_tensor(theta, batch)
        point = theta.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.batch_total(point, batch)
            gradient = reraise_user_errors(batch, lambda: self._gradient(total, point))
        return total.detach().double(), gradient

    def visit_gradient(self, theta: Tensor, batch: Batch, visit: Callable[[str, Tensor], Any]) -> Tensor:
        """The summed loss of one batch, shape (), float64; calls `visit(name, gradient)` for each of its parameters.

        At no time are there two gradients: this takes little memory beside theta. Parameters that the loss does not
        depend on are left out. For a function without `resident`.
        """
        leaves = self.space.leaves(theta)
        with torch.enable_grad():
            total = self.batch_total(leaves, batch)
            with hand_over_gradients(leaves, visit):
                inputs = list(leaves.values())
                reraise_user_errors(batch, lambda: torch.autograd.grad(total, inputs, allow_unused=True))
        return total.detach().double()

    def _gradient_by_tensor(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """As `batch_gradient`; the vector's memory is touched as the gradient fills it, and activations are freed."""
        gradient = torch.empty_like(theta)
        parts, left = self.space.unflatten(gradient), set(self.space.names)

        def keep(name: str, part: Tensor) -> None:
            """Puts the gradient in one tensor into its place."""
            parts[name].copy_(part)
            left.discard(name)

        total = self.visit_gradient(theta, batch, keep)
        for name in left:
            parts[name].zero_()
        return total, gradient

    def _total(self, output: Any, batch: Batch, targets: Any = None) -> Tensor:
        if isinstance(self.loss, TermsLoss):
            return self.loss.batch_total(output, batch.size)
        return self.loss.total(output, copy_targets(batch.targets if targets is None else targets))

    def _gradient(self, total: Tensor, point: Tensor) -> Tensor:
        if self.function.resident is None:
            return torch.autograd.grad(total, point)[0]
        parts: list[Tensor] = []
        backward(total, {"": point}, lambda _, part: parts.append(part))
        return sum(parts[1:], parts[0]) if parts else torch.zeros_like(point)
