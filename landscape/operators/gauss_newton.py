"""Matrices J'M J with J the Jacobian of the model's outputs: Gauss-Newton, Fisher, and empirical Fisher.

They differ in M, a matrix on the outputs of each sample (Kunstner, Balles and Hennig 2019; Martens 2020).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.data.batches import Batch, leaves, map_tensors
from landscape.errors import TaskError
from landscape.evaluation.fisher_labels import draw_labels
from landscape.losses.protocol import is_likelihood, no_likelihood
from landscape.objective import Objective
from landscape.operators.graphs import Graph
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator

# M applied to K vectors, so many at once: for each output a tensor of K rows
Weigh = Callable[[list[Tensor], int], list[Tensor]]


class OutputOperator(SummedOperator):
    """J'M J summed over samples and divided by the count; J v is taken as the derivative of u -> (J'u)'v.

    That needs reverse passes only, like the Hessian, where forward rules are lacking.
    """

    @abstractmethod
    def weighing(self, output: Any, batch: Batch) -> Weigh:
        """The product with M, given the batch's detached output, whose leaves require gradients."""

    def graph(self, batch: Batch) -> Graph:
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():
            output = self.objective.batch_output(theta, batch)
            outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
            if not outputs:
                raise TaskError(
                    f"--operator needs outputs in tensors, tuples or dictionaries, not {type(output).__name__}",
                    fix="--operator hessian, or a model that returns tensors",
                )
            weigh = self.weighing(map_tensors(_detached, output), batch)
            duals = [torch.zeros_like(leaf).requires_grad_() for leaf in outputs]
            (dual,) = torch.autograd.grad(outputs, theta, duals, create_graph=True)

        def product(block: Tensor, *, together: int, keep: bool) -> Tensor:
            pushed = pull_back([dual], duals, [block.T.contiguous()], together=together, keep=True)
            weighed = weigh(pushed, together)
            return pull_back(outputs, [theta], weighed, together=together, keep=keep)[0].T

        return product


class GaussNewtonOperator(OutputOperator):
    """The generalised Gauss-Newton matrix: M is the loss' own Hessian in the outputs (Schraudolph 2002, section 3).

    It is positive semidefinite if the loss is convex in the outputs, as cross-entropy and mse are.
    """

    name: ClassVar[str] = "ggn"

    def weighing(self, output: Any, batch: Batch) -> Weigh:
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = self.objective.loss_total(output, batch)
        several = len(outputs) > 1  # the loss may leave some out; a single one that is left out is a missing formula
        slopes = torch.autograd.grad(total, outputs, create_graph=True, allow_unused=several)
        curved = [slope for slope in slopes if slope is not None and slope.requires_grad]
        if not curved:  # a loss that is linear in the outputs
            return lambda vectors, together: [torch.zeros_like(vector) for vector in vectors]

        def weigh(vectors: list[Tensor], together: int) -> list[Tensor]:
            some = [v for v, slope in zip(vectors, slopes, strict=True) if slope is not None and slope.requires_grad]
            return pull_back(curved, outputs, some, together=together, keep=True, allow_unused=several)

        return weigh


class EmpiricalFisherOperator(OutputOperator):
    """The sum of g g' over the data, with g the gradient of one datum's loss at its own target.

    A datum is what a target stands for: with cross-entropy every target that counts, else a sample. This is neither the
    Fisher matrix nor an approximation of the Hessian away from a perfect fit (Kunstner et al. 2019).
    """

    name: ClassVar[str] = "empirical-fisher"

    def weighing(self, output: Any, batch: Batch) -> Weigh:
        return _outer([self._slopes(output, batch)], self._class_axis(output, batch))

    def _slopes(self, output: Any, batch: Batch, targets: Any = None) -> list[Tensor]:
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = self.objective.loss_total(output, batch, targets)
        slopes = torch.autograd.grad(total, outputs, allow_unused=True)
        return [torch.zeros_like(leaf) if s is None else s for leaf, s in zip(outputs, slopes, strict=True)]

    def _class_axis(self, output: Any, batch: Batch) -> int | None:
        """The axis over which one datum's outputs run; None: all but the first."""
        return self.objective.loss.structure.axis(output, batch.targets)


class FisherOperator(EmpiricalFisherOperator):
    """The Fisher matrix with labels drawn from the model's own distribution, `labels` for each datum.

    Its expectation is the Gauss-Newton matrix for cross-entropy, mse and bce (Martens 2020, section 9.2). A sample's
    labels depend on `seed` and its place in the data alone: the operator is the same in every product. Raises
    TaskError for a loss that is no likelihood.
    """

    name: ClassVar[str] = "fisher"

    def __init__(self, objective: Objective, theta: Tensor | None = None, *, seed: int = 0, labels: int = 1) -> None:
        super().__init__(objective, theta)
        if not is_likelihood(objective.loss):
            raise no_likelihood(objective.loss.name)
        self.seed, self.labels = seed, labels

    def weighing(self, output: Any, batch: Batch) -> Weigh:
        if not isinstance(output, Tensor):
            raise TaskError("the Fisher matrix needs a model with one output tensor", fix="--operator ggn")
        slopes = []
        for draw in range(self.labels):
            slopes.append(self._slopes(output, batch, draw_labels(self.objective, output, batch, self.seed, draw)))
        return _outer(slopes, self._class_axis(output, batch))


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _outer(draws: list[list[Tensor]], axis: int | None) -> Weigh:
    """The mean over draws of s s' for each datum, with s its slopes over all outputs."""

    def overlap(slopes: list[Tensor], vectors: list[Tensor]) -> list[Tensor]:
        """s'v of each datum, in a shape that multiplies each output's slopes."""
        if axis is not None:  # one output, whose other axes run over data
            return [(slopes[0] * vectors[0]).sum(dim=axis + 1, keepdim=True)]
        pairs = zip(slopes, vectors, strict=True)
        each = torch.stack([(s * v).flatten(2).sum(dim=2) if s.ndim > 1 else s * v for s, v in pairs]).sum(dim=0)
        return [each.reshape(*each.shape, *[1] * (s.ndim - 1)) for s in slopes]

    def weigh(vectors: list[Tensor], together: int) -> list[Tensor]:  # noqa: ARG001 (a Graph's)
        weighed = [torch.zeros_like(vector) for vector in vectors]
        for slopes in draws:
            for total, slope, scale in zip(weighed, slopes, overlap(slopes, vectors), strict=True):
                total += slope * scale / len(draws)
        return weighed

    return weigh
