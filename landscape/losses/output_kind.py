"""Whether a model's outputs are what a loss takes: logits, and not already probabilities or their logarithms."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from landscape.choices import Outputs
from landscape.errors import TaskError, UsageError
from landscape.losses.builtin import PROBABILITY_SUM_ERROR
from landscape.losses.protocol import Likelihood, Loss, OutputStructure, Uniform, describe_tensor

FEWEST_YES_OR_NO_OUTPUTS = 8  # of which all between 0 and 1 are no coincidence: trained logits have both signs
FIXES = "--outputs probabilities converts them to logits; --outputs logits if they are logits after all"


@dataclass(frozen=True)
class ConvertedStructure(OutputStructure):
    """The structure of a loss of logits whose model returns probabilities, or their logarithms."""

    inner: OutputStructure = OutputStructure()
    outputs: Outputs = "probabilities"

    def scored_output(self, output: Any) -> Tensor:
        """The logits: log p for classes, log p - log(1 - p) for yes-or-no questions."""
        scored: Tensor = self.inner.scored_output(output)
        logarithms = scored.log() if self.outputs == "probabilities" else scored
        if self.kind == "classes":
            return logarithms
        no = torch.log1p(-scored) if self.outputs == "probabilities" else torch.log(-torch.expm1(scored))
        return logarithms - no

    def labels(self, target: Any) -> Any:
        """The labels of the loss of logits."""
        return self.inner.labels(target)


@dataclass(frozen=True)
class ConvertedLoss:
    """A loss of logits for a model that returns probabilities, or their logarithms: it takes the logits from them."""

    inner: Likelihood
    outputs: Outputs

    @property
    def name(self) -> str:
        """The loss's name with the kind of outputs."""
        return f"{self.inner.name} of {self.outputs}"

    @cached_property
    def structure(self) -> ConvertedStructure:
        """That of the inner loss, of the logits."""
        own = {name: getattr(self.inner.structure, name) for name in _COMMON_FIELDS}
        return ConvertedStructure(**own, inner=self.inner.structure, outputs=self.outputs)

    def total(self, output: Tensor, target: Any) -> Tensor:
        """The summed loss `()` of the logits."""
        return self.inner.total(output, target)

    def count(self, target: Any) -> float:
        """How many terms are counted."""
        return self.inner.count(target)

    def sample(self, output: Tensor, target: Any, uniform: Uniform) -> Tensor:
        """Targets drawn from the model's own distribution."""
        return self.inner.sample(output, target, uniform)


_COMMON_FIELDS = tuple(field.name for field in fields(OutputStructure))


def fit_to_outputs(loss: Loss, output: Any, outputs: Outputs | None) -> Loss:
    """The loss for a model whose outputs are `outputs`; without that word, outputs that fit the loss are required.

    Raises TaskError for outputs that look like something else, and UsageError where the word means nothing to the loss.
    """
    structure = loss.structure
    if structure.kind not in ("classes", "binary"):
        if outputs is not None:
            raise UsageError(
                f"--outputs {outputs} means nothing to loss {loss.name}", fix="--loss cross_entropy, or bce"
            )
        return loss
    scored = structure.scored_output(output)
    if not isinstance(scored, Tensor):
        return loss
    if structure.log_probabilities:
        if outputs is None and not _are_log_probabilities(structure, scored):
            raise TaskError(
                f"loss {loss.name} takes logarithms of probabilities, and the outputs are none: "
                f"{describe_tensor(scored)} whose exponentials do not add to 1",
                fix="a log_softmax at the end of the model; --loss cross_entropy for logits",
            )
        return loss
    if outputs in ("probabilities", "log-probabilities"):
        return ConvertedLoss(cast("Likelihood", loss), outputs)
    if outputs is None and _look_like_probabilities(structure, scored):
        raise _no_logits(loss.name, scored)
    return loss


def require_logits(output: Any, target: Any, outputs: Outputs | None) -> None:
    """Raises TaskError if no loss can be inferred because the outputs look like probabilities of classes."""
    integers = isinstance(target, Tensor) and not target.is_floating_point()
    if outputs is None and integers and isinstance(output, Tensor) and _adds_to_one(output, output.ndim - 1):
        raise _no_logits("cross_entropy", output)


def _are_log_probabilities(structure: OutputStructure, output: Tensor) -> bool:
    """Whether the exponentials of the outputs add to 1 along the classes; if they overflow, this is not judged."""
    axis = 1 if structure.class_axis is None else structure.class_axis % output.ndim
    sums = output.detach().double().exp().sum(axis)
    return not bool(sums.isfinite().all()) or bool(((sums - 1).abs() < PROBABILITY_SUM_ERROR).all())


def _look_like_probabilities(structure: OutputStructure, output: Tensor) -> bool:
    if structure.kind == "binary":
        values = output.detach()
        inside = values.numel() >= FEWEST_YES_OR_NO_OUTPUTS and bool(((values >= 0) & (values <= 1)).all())
        return inside and bool((values != values.flatten()[0]).any())
    axis = structure.class_axis
    return _adds_to_one(output, output.ndim - 1 if axis is None else axis % output.ndim)


def _adds_to_one(output: Tensor, axis: int) -> bool:
    """Whether the outputs are not negative, and add to 1 along the axis."""
    if not output.is_floating_point() or output.ndim < 2 or output.shape[axis] < 2 or not output.numel():
        return False
    values = output.detach()
    return bool((values >= 0).all()) and bool(((values.sum(axis) - 1).abs() < PROBABILITY_SUM_ERROR).all())


def _no_logits(name: str, output: Tensor) -> TaskError:
    return TaskError(
        f"loss {name} takes logits, and the outputs look like probabilities: {describe_tensor(output)}, "
        "all between 0 and 1",
        why="the model ends in a softmax or a sigmoid; the loss would apply it again",
        fix=FIXES,
    )
