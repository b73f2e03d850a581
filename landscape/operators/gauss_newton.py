"""Matrices J'M J with J the Jacobian of the model's outputs: Gauss-Newton, Fisher, and empirical Fisher.

They differ in M, a matrix on the outputs of each sample (Kunstner, Balles and Hennig 2019; Martens 2020).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.data.trees import leaves, map_tensors
from landscape.errors import TaskError, UsageError
from landscape.evaluation.fisher_labels import draw_labels
from landscape.evaluation.per_sample.outcomes import require_separate_samples
from landscape.losses.protocol import is_likelihood, no_likelihood
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxTargets, large_softmax
from landscape.losses.terms import TermsLoss
from landscape.objective import Objective
from landscape.operators.graphs import Graph
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator

# Draws that estimate the variance of each term, also where products use fewer: they need no passes of their own. With
# two draws, intervals for 24 samples of a net covered 76 %, since rare labels were mostly not among them.
MIN_LABELS = 16
# M times K vectors: for each output a tensor of K rows; the number says how many vectors share a call
OutputProduct = Callable[[list[Tensor], int], list[Tensor]]


class OutputOperator(SummedOperator):
    """J'M J summed over samples and divided by the count, for a matrix M on the outputs of each sample.

    J v is computed as the derivative of u -> (J'u)'v. That needs reverse passes only, as the Hessian does, where
    forward-mode rules are missing.
    """

    def graph_output(self, theta: Tensor, batch: Batch) -> Any:
        """The output of one batch that is differentiated."""
        return self.objective.batch_output(theta, batch)

    @abstractmethod
    def output_product(self, output: Any, batch: Batch) -> OutputProduct:
        """The product with M, given the batch's detached output, whose leaves require gradients."""

    @abstractmethod
    def softmax_product(self, softmax: SoftmaxCrossEntropy, output: Any, batch: Batch) -> OutputProduct:
        """The same for a cross-entropy in closed form, which overwrites the vectors."""

    def graph(self, batch: Batch) -> Graph:
        """The graph of one batch's outputs and of u -> J'u; weight decay adds its own matrix for each term."""
        jacobian, decay = self._jacobian(batch), self.objective.decay
        count = self.objective.batch_count(batch) if decay else 0.0
        if jacobian.softmax is None:
            multiply = self.output_product(jacobian.detached, batch)
        else:
            multiply = self.softmax_product(jacobian.softmax, jacobian.output, batch)

        def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:
            images = multiply(jacobian.push(block, chunk_size), chunk_size)
            pulled = pull_back(
                jacobian.outputs, [jacobian.theta], images, chunk_size=chunk_size, retain_graph=retain_graph
            )
            return pulled[0].T + count * decay.product(block) if decay else pulled[0].T

        def by_chunks(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:
            """The product by the columns of one call, so that outputs of more columns are never held."""
            columns = block.shape[1]
            if columns <= chunk_size:
                return product(block, chunk_size=chunk_size, retain_graph=retain_graph)
            rows = block.new_empty(columns, len(block))
            for first in range(0, columns, chunk_size):
                last = first + chunk_size >= columns
                group = block[:, first : first + chunk_size]
                image = product(group, chunk_size=chunk_size, retain_graph=retain_graph or not last)
                rows[first : first + chunk_size] = image.T
            return rows.T

        return by_chunks

    def _jacobian(self, batch: Batch) -> _Jacobian:
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():
            output = self.graph_output(theta, batch)
            softmax = self._large_softmax(output, batch)
            outputs = [leaf for leaf in (leaves(output) if softmax is None else [softmax.logits]) if leaf.requires_grad]
            if not outputs:
                raise TaskError(
                    f"--operator needs outputs in tensors, tuples or dictionaries, not {type(output).__name__}",
                    fix="--operator hessian, or a model that returns tensors",
                )
            duals = [_zeros(leaf, materialize=softmax is None).requires_grad_() for leaf in outputs]
            (pulled,) = torch.autograd.grad(outputs, theta, duals, create_graph=True)
        return _Jacobian(theta, outputs, output, duals, pulled, softmax and softmax.detach())

    def _large_softmax(self, output: Any, batch: Batch) -> SoftmaxCrossEntropy | None:
        """The loss in closed form if there are many logits, and the loss is a cross-entropy of them."""
        objective = self.objective
        if objective.function.loss_uses_parameters:
            return None
        return large_softmax(objective.loss, output, batch.targets)


@dataclass(frozen=True)
class _Jacobian:
    """J of one batch at theta `(P,)`: its outputs, and the graph of u -> J'u at the `duals` u.

    With `softmax`, a loss in closed form, the output that is differentiated is its logits.
    """

    theta: Tensor
    outputs: list[Tensor]
    output: Any
    duals: list[Tensor]
    pulled: Tensor
    softmax: SoftmaxCrossEntropy | None = None

    @property
    def detached(self) -> Any:
        """The output without its graph; its leaves require gradients."""
        return map_tensors(_detach, self.output)

    def push(self, block: Tensor, chunk_size: int) -> list[Tensor]:
        """J times K columns: for each output a tensor of K rows. In closed form they are overwritten by others."""
        rows = block.T.contiguous()
        pushed = pull_back([self.pulled], self.duals, [rows], chunk_size=chunk_size, retain_graph=True)
        return pushed if self.softmax is None else [_own(vectors, rows) for vectors in pushed]


class GaussNewtonOperator(OutputOperator):
    """The generalized Gauss-Newton matrix: M is the loss' own Hessian in the outputs (Schraudolph 2002, section 3).

    It is positive semidefinite if the loss is convex in the outputs, as cross-entropy and mse are.
    """

    name: ClassVar[str] = "ggn"

    def output_product(self, output: Any, batch: Batch) -> OutputProduct:
        """The product with the Hessian of the batch's loss in its outputs."""
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = self.objective.loss_total(output, batch)
        # a loss may ignore one of several outputs; if it ignores a single one, a derivative formula is missing
        several = len(outputs) > 1
        gradients = torch.autograd.grad(total, outputs, create_graph=True, allow_unused=several)
        curved = [gradient for gradient in gradients if gradient is not None and gradient.requires_grad]
        if not curved:  # a loss that is linear in the outputs
            return lambda vectors, chunk_size: [torch.zeros_like(vector) for vector in vectors]

        def multiply(vectors: list[Tensor], chunk_size: int) -> list[Tensor]:
            pairs = zip(vectors, gradients, strict=True)
            rows = [v for v, gradient in pairs if gradient is not None and gradient.requires_grad]
            return pull_back(curved, outputs, rows, chunk_size=chunk_size, retain_graph=True, allow_unused=several)

        return multiply

    def softmax_product(self, softmax: SoftmaxCrossEntropy, output: Any, batch: Batch) -> OutputProduct:
        """The product with the Hessian of cross-entropy in closed form."""
        return lambda vectors, chunk_size: [softmax.multiply_hessian_(vectors[0])]


class EmpiricalFisherOperator(OutputOperator):
    """The sum of g g' over the data, with g the gradient of one term of the loss at its own target.

    A term belongs to one target: with cross-entropy each target that counts, otherwise each sample. The matrix is
    neither the Fisher matrix nor an approximation of the Hessian away from a perfect fit (Kunstner et al. 2019). Of a
    batch that is one unit each row of the targets is a term. Raises TaskError if no term has a loss of its own, and
    UsageError with weight decay, which belongs to no term.
    """

    name: ClassVar[str] = "empirical-fisher"

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        super().__init__(objective, theta)
        require_separate_samples(objective)
        if self.name == EmpiricalFisherOperator.name and objective.decay:
            raise UsageError(
                "--operator empirical-fisher has no --weight-decay: it is made of the gradients of the data's terms",
                fix="leave --weight-decay out, or --operator ggn",
            )
        _require_separate_rows(objective)

    def graph_output(self, theta: Tensor, batch: Batch) -> Any:
        """The output that is differentiated: an objective's losses, whose own gradients in themselves are 1."""
        return self.objective.losses_or_output(theta, batch)

    def output_product(self, output: Any, batch: Batch) -> OutputProduct:
        """The product with g g', g the loss' gradient in the outputs."""
        return _outer_product([self._output_gradients(output, batch)], self._class_axis(output, batch))

    def softmax_product(self, softmax: SoftmaxCrossEntropy, output: Any, batch: Batch) -> OutputProduct:
        """The product with g g' for a cross-entropy in closed form."""
        draws = self.softmax_draws(softmax, output, batch)
        return lambda vectors, chunk_size: [softmax.multiply_outer_(vectors[0], draws)]

    def softmax_draws(self, softmax: SoftmaxCrossEntropy, output: Any, batch: Batch) -> list[SoftmaxTargets]:
        """The targets whose gradients are meant: the data's own."""
        return [softmax.targets]

    def _output_gradients(self, output: Any, batch: Batch, targets: Any = None) -> list[Tensor]:
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = self.objective.loss_total(output, batch, targets)
        gradients = torch.autograd.grad(total, outputs, allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(outputs, gradients, strict=True)]

    def _class_axis(self, output: Any, batch: Batch) -> int | None:
        """The axis of the output that holds the numbers of one term; None: all axes but the first."""
        return self.objective.loss.structure.axis(output, batch.targets)


class FisherOperator(EmpiricalFisherOperator):
    """The Fisher matrix with labels drawn from the model's own distribution, `labels` for each term of the loss.

    Its expectation is the Gauss-Newton matrix for cross-entropy, mse and bce (Martens 2020, section 9.2). A sample's
    labels depend only on `seed` and its position in the data, so every product has the same matrix. Raises TaskError
    for a loss that is no likelihood.
    """

    name: ClassVar[str] = "fisher"

    def __init__(self, objective: Objective, theta: Tensor | None = None, *, seed: int = 0, labels: int = 1) -> None:
        super().__init__(objective, theta)
        if not is_likelihood(objective.loss):
            raise no_likelihood(objective.loss.name)
        self.seed, self.labels = seed, labels

    def output_product(self, output: Any, batch: Batch) -> OutputProduct:
        """The product with the mean of g g' over the labels drawn."""
        return _outer_product(list(self._draws(output, batch, self.labels)), self._class_axis(output, batch))

    def label_variances(self, block: Tensor) -> tuple[Tensor, float]:
        """The variances over the labels drawn of v'F v for each column v, `(K,)`, and of the mean over random columns.

        Labels of different terms are independent, so the variances of terms add; each is that of many draws.
        The second number is an unbiased estimate of the variance in the limit of infinitely many columns, for columns
        that are independent: products of different columns alone contribute. It may be below 0 where it is small.
        """
        draws = max(self.labels, MIN_LABELS)

        def overlaps(batch: Batch) -> Tensor:
            """The overlaps of gradients with the columns, `(draws, K, terms)`."""
            jacobian = self._jacobian(batch)
            if (softmax := jacobian.softmax) is not None:
                targets = self._draw_targets(jacobian.output, batch, draws)
                columns = (jacobian.push(column, 1)[0][0] for column in torch.split(block, 1, dim=1))
                return torch.stack([softmax.overlaps(column, targets) for column in columns], dim=1)
            pushed = jacobian.push(block, 1)
            axis = self._class_axis(jacobian.detached, batch)
            overlaps = [_overlap(gradients, pushed, axis) for gradients in self._draws(jacobian.detached, batch, draws)]
            return torch.stack([each[0].flatten(1) for each in overlaps])

        def kernel(batch: Batch) -> Tensor:
            """The sums over terms and draws of squared deviations: of each column, and of the sum of all columns."""
            squares = overlaps(batch).double() ** 2
            apart = squares - squares.mean(dim=0)
            return torch.cat([(apart**2).sum(dim=(0, 2)), (apart.sum(dim=1) ** 2).sum()[None]])

        sums = self.objective.accumulate(kernel) / ((draws - 1) * self.labels * self.objective.count**2)
        columns, pairs = sums[:-1], block.shape[1] * (block.shape[1] - 1)
        return columns, float((sums[-1] - columns.sum()) / pairs) if pairs else float("nan")

    def softmax_draws(self, softmax: SoftmaxCrossEntropy, output: Any, batch: Batch) -> list[SoftmaxTargets]:
        """The targets whose gradients are meant: those drawn from the model's own distribution."""
        return self._draw_targets(output, batch, self.labels)

    def _draw_targets(self, output: Tensor, batch: Batch, count: int) -> list[SoftmaxTargets]:
        """The targets of `count` draws for a loss in closed form."""
        drawn = [draw_labels(self.objective, output, batch, self.seed, draw) for draw in range(count)]
        forms = [large_softmax(self.objective.loss, output, labels) for labels in drawn]
        return [form.targets for form in forms if form is not None]

    def _draws(self, output: Any, batch: Batch, count: int) -> Iterator[list[Tensor]]:
        """The gradients of the loss in the outputs for each of `count` draws of labels."""
        if not isinstance(output, Tensor):
            raise TaskError("the Fisher matrix needs a model with one output tensor", fix="--operator ggn")
        for draw in range(count):
            labels = draw_labels(self.objective, output, batch, self.seed, draw)
            yield self._output_gradients(output, batch, labels)


def _require_separate_rows(objective: Objective) -> None:
    """Raises TaskError if batches are units and the loss is not known to be a sum over the rows of their targets."""
    of_rows = isinstance(objective.loss, TermsLoss) or objective.loss.structure.kind != "unknown"
    if objective.batches.unit and not of_rows:
        raise TaskError(
            f"loss {objective.loss.name} is not known to be a sum over rows, whose gradients are to be squared",
            why=f"each batch is one unit: {objective.batches.unit}",
            fix="--operator hessian, or a built-in --loss",
        )


def _detach(tensor: Tensor) -> Tensor:
    """The tensor as a leaf that requires gradients if the tensor did."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _zeros(like: Tensor, *, materialize: bool) -> Tensor:
    """Zeros of a tensor's shape; else a single zero in memory that stands for all."""
    return torch.zeros_like(like) if materialize else like.new_zeros(()).expand(like.shape)


def _own(vectors: Tensor, rows: Tensor) -> Tensor:
    """The vectors in memory of their own, which may be written: a Jacobian may be the identity, or constant."""
    shared = vectors.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr()
    return vectors.contiguous().clone() if shared or 0 in vectors.stride() else vectors


def _overlap(gradients: list[Tensor], vectors: list[Tensor], axis: int | None) -> list[Tensor]:
    """g'v of each term for K vectors, in shapes that multiply each output's gradient."""
    if axis is not None:  # one output, whose other axes run over terms
        return [(gradients[0] * vectors[0]).sum(dim=axis + 1, keepdim=True)]
    pairs = zip(gradients, vectors, strict=True)
    each = torch.stack([(g * v).flatten(2).sum(dim=2) if g.ndim > 1 else g * v for g, v in pairs]).sum(dim=0)
    return [each.reshape(*each.shape, *[1] * (g.ndim - 1)) for g in gradients]


def _outer_product(draws: list[list[Tensor]], axis: int | None) -> OutputProduct:
    """The product with the mean over draws of g g' for each term, g its gradient in all outputs."""

    def multiply(vectors: list[Tensor], chunk_size: int) -> list[Tensor]:  # noqa: ARG001 (an OutputProduct's)
        images = [torch.zeros_like(vector) for vector in vectors]
        for gradients in draws:
            for image, gradient, scale in zip(images, gradients, _overlap(gradients, vectors, axis), strict=True):
                image += gradient * scale / len(draws)
        return images

    return multiply
