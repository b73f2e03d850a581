"""Vectors v in the outputs of single samples whose v v' add up to the matrix M of J'M J, or have it as their mean.

The diagonal of J'M J is the sum of (J'v)^2, entry by entry. Where a sample has few outputs, M is factored exactly. Else
the vectors are drawn: S e with M = S S' and random signs e, or gradients of the loss with labels drawn from the model
(Dangel, Kunstner and Hennig 2020, "BackPACK", sections 2.3 and A.3: DiagGGNExact and DiagGGNMC).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from landscape import seeds
from landscape.choices import OperatorName
from landscape.data.batches import Batch, to_device
from landscape.data.trees import leaves
from landscape.evaluation.fisher_labels import draw_labels
from landscape.losses.protocol import is_likelihood
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxLoss
from landscape.objective import Objective
from landscape.operators.exact_trace import MAX_OUTPUTS, count_outputs
from landscape.operators.gauss_newton import GaussNewtonOperator
from landscape.operators.output_roots import output_roots

SIGN_DRAWS = 8  # vectors of a sample in one pass: their spread is the error, with 7 degrees of freedom for each sample


class Vectors(NamedTuple):
    """K vectors for each of n samples, `(K, n, *shape)` by output; `signs` `(K, n)` float64 of a sum, None of draws."""

    signs: Tensor | None
    by_output: list[Tensor]


@dataclass(frozen=True)
class OutputVectors(ABC):
    """How the vectors of a batch are made; `per_pass` of them for each sample."""

    objective: Objective
    per_pass: int

    exact: ClassVar[bool] = False  # whether one pass gives the whole sum, and not a random part with this mean

    @abstractmethod
    def make(self, output: Any, batch: Batch, number: int) -> Vectors:
        """The vectors of pass `number`, for a detached output whose leaves require gradients."""


@dataclass(frozen=True)
class RootVectors(OutputVectors):
    """The exact factors of the loss's Hessian in the outputs, with signs."""

    exact: ClassVar[bool] = True

    def make(self, output: Any, batch: Batch, number: int) -> Vectors:
        """The roots; `number` does not matter."""
        return Vectors(*output_roots(GaussNewtonOperator(self.objective), output, batch))


@dataclass(frozen=True)
class OwnLabelVectors(OutputVectors):
    """The gradient of each sample's loss at its own target: the factor of the empirical Fisher matrix."""

    exact: ClassVar[bool] = True

    def make(self, output: Any, batch: Batch, number: int) -> Vectors:
        """One vector for each sample."""
        gradients = _output_gradients(self.objective, output, batch, None)
        signs = torch.ones((1, batch.size), dtype=torch.float64, device=gradients[0].device)
        return Vectors(signs, [gradient[None] for gradient in gradients])


@dataclass(frozen=True)
class DrawnVectors(OutputVectors):
    """Random vectors, which depend on the seed, the pass, and the samples' places in the data."""

    seed: int

    def make(self, output: Any, batch: Batch, number: int) -> Vectors:
        """The draws of one pass, one after another."""
        rows = [self.draw(output, batch, number * self.per_pass + index) for index in range(self.per_pass)]
        return Vectors(None, [torch.stack(each) for each in zip(*rows, strict=True)])

    @abstractmethod
    def draw(self, output: Any, batch: Batch, draw: int) -> list[Tensor]:
        """One vector for each sample, by output."""

    def signs(self, batch: Batch, shape: Sequence[int], like: Tensor, draw: int, name: str) -> Tensor:
        """Random signs of a shape with samples along axis 0."""
        numbers = seeds.uniform(batch.first, tuple(shape), like, self.seed, "diagonal", name, draw)
        return torch.where(numbers < 0.5, -1.0, 1.0).to(like)


@dataclass(frozen=True)
class SignVectors(DrawnVectors):
    """S e with random signs e, for the Hessian S S' of cross-entropy, binary cross-entropy or squared error."""

    def draw(self, output: Any, batch: Batch, draw: int) -> list[Tensor]:
        """One vector for each sample. Of classes e is a product of signs by prediction and by class."""
        structure = self.objective.loss.structure
        logits = output.detach()
        if (axis := structure.axis(logits, batch.targets)) is None:
            binary = structure.kind == "binary"
            scale = (logits.sigmoid() * (-logits).sigmoid()).sqrt() if binary else 2**0.5
            return [scale * self.signs(batch, logits.shape, logits, draw, "outputs")]
        softmax = _softmax(self.objective, logits, batch)
        assert softmax is not None  # of a loss for which these vectors are chosen
        probabilities = softmax.logits.softmax(-1)
        classes = (len(logits), *[1] * (logits.ndim - 2), logits.shape[axis])
        signed = probabilities.sqrt() * self.signs(batch, classes, logits, draw, "classes")
        vector = signed - probabilities * signed.sum(-1, keepdim=True)
        of_prediction = self.signs(batch, (*probabilities.shape[:-1], 1), logits, draw, "predictions")
        weights = softmax.targets.sums((), probabilities)
        return [(vector * of_prediction * weights.sqrt()).movedim(-1, axis)]


@dataclass(frozen=True)
class LabelVectors(DrawnVectors):
    """The gradients of the loss with labels drawn from the model's own distribution."""

    def draw(self, output: Any, batch: Batch, draw: int) -> list[Tensor]:
        """One vector for each sample."""
        labels = draw_labels(self.objective, output, batch, self.seed, draw)
        return _output_gradients(self.objective, output, batch, labels)


def choose_vectors(
    objective: Objective, name: OperatorName, *, seed: int = 0, labels: int = 16
) -> OutputVectors | None:
    """The vectors for the matrix called `name`; None where its diagonal is no sum over single samples' outputs.

    None as well where no factor of M is known, or where M belongs to the tokens of a sample, not to the sample.
    """
    outputs = count_outputs(objective)
    if not outputs or name not in ("ggn", "fisher", "empirical-fisher"):
        return None
    structure = objective.loss.structure
    output, batch = _first_output(objective)
    single = isinstance(output, Tensor)
    if name == "empirical-fisher":
        axis = structure.axis(output, batch.targets) if single else None
        terms = outputs // output.shape[axis] if axis is not None else 1
        return OwnLabelVectors(objective, 1) if terms == 1 else None
    if name == "fisher" and not (single and structure.canonical_link):
        return LabelVectors(objective, labels, seed) if single and is_likelihood(objective.loss) else None
    if outputs <= MAX_OUTPUTS:
        return RootVectors(objective, outputs)
    if not single:
        return None
    softmax = structure.axis(output, batch.targets) is not None and _softmax(objective, output, batch) is not None
    entries = structure.canonical_link and structure.kind in ("binary", "squared_error")
    return SignVectors(objective, SIGN_DRAWS, seed) if softmax or entries else None


def _softmax(objective: Objective, logits: Tensor, batch: Batch) -> SoftmaxCrossEntropy | None:
    """The closed form of a cross-entropy; None for any other loss."""
    loss = objective.loss
    return loss.as_softmax(logits, batch.targets) if isinstance(loss, SoftmaxLoss) else None


def _first_output(objective: Objective) -> tuple[Any, Batch]:
    """The first sample's output, and its batch."""
    batch = to_device(next(next(iter(objective.batches)).split(1)), objective.device, objective.dtype)
    with torch.no_grad():
        return objective.batch_output(objective.theta, batch), batch


def _output_gradients(objective: Objective, output: Any, batch: Batch, targets: Any) -> list[Tensor]:
    """The gradients of the summed loss in the outputs, with other targets if they are given."""
    with torch.enable_grad():
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = objective.loss_total(output, batch, targets)
        gradients = torch.autograd.grad(total, outputs, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(outputs, gradients, strict=True)]
