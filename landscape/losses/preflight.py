"""The loss to measure with, tried on the first samples: differentiable, no sum over samples, the model's own."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.choices import Outputs
from landscape.data.batches import Batch, uneven_size
from landscape.data.trees import leaves
from landscape.errors import LandscapeError, TaskError, listing
from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.losses.huggingface import (
    HF,
    OTHER_LOSS,
    OWN_MEAN,
    OWN_SUM,
    LogitsLoss,
    OwnLoss,
    has_loss,
    is_own_output,
    labels_of,
    own_loss,
    quiet_transformers,
)
from landscape.losses.output_kind import fit_to_outputs, require_logits
from landscape.losses.protocol import Loss
from landscape.losses.reductions import DECLARE, ReducedLoss
from landscape.losses.structure_check import require_declared_structure
from landscape.losses.user import LOSS_OF_CONTAINERS, FunctionLoss, ModuleLoss, as_loss, infer_loss

# Between the model's own loss and landscape's, relative and absolute: a model computes its loss in float32 always. An
# auxiliary loss, such as the one that balances experts, may be a thousandth of the whole.
OWN_LOSS_TOLERANCE = 2e-5
MEAN_RTOL = 1e-3  # between a batch and its parts: far above float32 rounding, far below the factor of a sum
Evaluate = Callable[[Loss, Any, Batch], Tensor]  # the summed loss of an output, where the model holds its parameters


def choose_loss(
    model: nn.Module,
    forward: Callable[[Batch], Any],
    loss: Any,
    first: Batch,
    *,
    output: Any,
    evaluate: Evaluate,
    outputs: Outputs | None = None,
) -> tuple[Loss, str]:
    """The loss to measure with, and a note on where it came from if it was inferred (`loss` is None).

    `forward` maps a batch to the model's output, with a graph to the parameters; `output` is that of the first samples.
    `evaluate` computes a loss where the
    model holds the parameters that are measured. `outputs` says what the model's outputs are to a built-in loss. Raises
    TaskError if the loss fails, is a sum over samples, cuts the graph, has another structure than it declares, or does
    not fit outputs that look like probabilities.
    """
    tensors = list(leaves(output))  # none if the model returns an object of its own
    if tensors and not any(tensor.requires_grad for tensor in tensors):
        raise TaskError(
            "the model's output does not depend on the parameters that are measured",
            why="they are not used, or the forward pass runs under no_grad or detaches",
            fix="choose others with --params, or let gradients through",
        )
    try:
        chosen, note = select_loss(model, loss, output, first, outputs)
        total = evaluate(chosen, output, first)
    except LandscapeError:
        raise
    except Exception as error:  # the user's loss may raise anything
        raise TaskError(
            f"the loss cannot take the model's output: {type(error).__name__}: {error}",
            why=f"output {_describe_output(output)}, targets of {shapes(first.targets)}",
            fix="check --loss, and the targets that --data yields; --debug shows the traceback"
            if isinstance(output, Tensor)
            else LOSS_OF_CONTAINERS,
        ) from error
    if not (isinstance(total, Tensor) and total.requires_grad):
        raise TaskError(
            f"loss {chosen.name} has no gradient",
            why="it leaves torch, detaches or rounds",
            fix="compute it with torch",
        )
    if isinstance(chosen, ReducedLoss):
        require_sum(chosen, lambda piece: evaluate(chosen, forward(piece), piece), first)
    elif chosen is OWN_MEAN and _is_own_sum(lambda piece: evaluate(chosen, forward(piece), piece), first):
        return OWN_SUM, f"loss: the {OWN_SUM.origin}"
    elif isinstance(chosen, FunctionLoss):
        require_no_sum(chosen, lambda piece: evaluate(chosen, forward(piece), piece), first)
    elif isinstance(chosen, OwnLoss):
        if not agrees_with_own_loss(chosen, model, forward, output, first):
            return OWN_MEAN, f"loss: the {OWN_MEAN.origin}"
    elif chosen is loss:  # the user's object with a structure
        require_declared_structure(chosen, chosen.structure.scored_output(output), first.targets)
    return chosen, note


def _is_own_sum(total: Callable[[Batch], Tensor], batch: Batch) -> bool:
    """Whether the loss that a model computes itself is a sum over samples, as that of models of sounds may be."""
    parts = measure_parts(OWN_MEAN, total, batch)
    return parts is not None and parts.is_sum


def agrees_with_own_loss(
    loss: OwnLoss, model: nn.Module, forward: Callable[[Batch], Any], output: Any, first: Batch
) -> bool:
    """Whether landscape computes the loss that the model does, or the model computes none; `output` is its output.

    Raises TaskError where they differ and the model was not given its labels, so that its own loss cannot be taken.
    """
    count = loss.count(first.targets)
    own = output.loss if has_loss(output) else _own_value(model, forward, first) if count else None
    computed = float(_total(loss, output, first).detach()) / count if count else math.nan
    if not isinstance(own, Tensor) or math.isnan(computed):  # the loss over all data will report NaN
        return True
    if abs(float(own.detach()) - computed) <= OWN_LOSS_TOLERANCE * (1 + abs(computed)):
        return True
    if has_loss(output):
        return False
    inner = f"{loss.inner.name} of its logits" if isinstance(loss, LogitsLoss) else "cross_entropy of its logits"
    raise TaskError(
        f"the model's own loss is {float(own.detach()):.6g} on the first {first.size} samples, not {computed:.6g}",
        why=f"it is no {inner} and labels alone",
        fix="--objective FILE.py:function, def function(model, batch): n = len(batch['labels']); "
        "return n * model(**batch).loss, n; or --loss pkg.mod:function(output, target)",
    )


def _own_value(model: nn.Module, forward: Callable[[Batch], Any], first: Batch) -> Any:
    """The loss that the model computes when it is given the labels; None if it takes none."""
    accepted = inspect.signature(model.forward).parameters
    if not isinstance(first.inputs, dict) or "labels" not in accepted:
        return None
    inputs = {**first.inputs, "labels": labels_of(first.targets)}
    config: Any = getattr(model, "config", None)
    model.config = copy.deepcopy(config)  # the model may write into it while it looks at the labels
    try:
        with quiet_transformers():
            return getattr(forward(replace(first, inputs=inputs)), "loss", None)
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot compute its own loss from these labels: {type(error).__name__}: {error}",
            why=f"labels of {shapes(first.targets)}",
            fix=f"check the labels, or {OTHER_LOSS}",
        ) from error
    finally:
        model.config = config


@dataclass(frozen=True)
class Parts:
    """A function's total over a batch, its count, and the totals and counts over uneven parts of the batch."""

    whole: float
    count: float
    totals: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def together(self) -> float:
        """The mean over the batch."""
        return self.whole / self.count

    @property
    def apart(self) -> float:
        """The mean over the parts."""
        return sum(self.totals) / sum(self.counts)

    @property
    def is_mean(self) -> bool:
        """Whether the parts give the mean of the batch; values that are not finite are not judged."""
        gap = abs(self.together - self.apart)
        return not math.isfinite(gap) or gap <= MEAN_RTOL * sum(map(abs, self.totals)) / sum(self.counts)

    @property
    def is_sum(self) -> bool:
        """Whether the means over the parts add up to that over the batch: the function returns sums."""
        means = [total / count for total, count in zip(self.totals, self.counts, strict=True)]
        return not self.is_mean and abs(self.together - sum(means)) <= MEAN_RTOL * sum(map(abs, means))


def measure_parts(loss: Loss, total: Callable[[Batch], Tensor], batch: Batch) -> Parts | None:
    """A function's totals over a batch and over parts of it; None for a function that cannot take the parts."""
    pieces = list(batch.split(uneven_size(batch.size)))
    whole = float(total(batch).detach())
    try:
        totals = tuple(float(total(piece).detach()) for piece in pieces)
        counts = tuple(float(loss.count(piece.targets)) for piece in pieces)
    except Exception:  # it cannot take a batch of another size; then nothing is known
        return None
    return Parts(whole, float(loss.count(batch.targets)), totals, counts)


def require_no_sum(loss: Loss, total: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Raises TaskError if a user's function returns the sum over a batch: it would count as the mean.

    `total` is the mean times the number of samples. A function that depends on its batch otherwise is measured on the
    batches as they are given.
    """
    parts = measure_parts(loss, total, batch)
    if parts is not None and parts.is_sum:
        raise TaskError(
            f"loss {loss.name} is not a mean over samples: {parts.together:.6g} for {batch.size} samples together, "
            f"{parts.apart:.6g} on average in parts",
            why="it returns a sum",
            fix=f"return the batch's mean, shape (), or one loss per sample, shape (N,); {DECLARE}",
        )


def require_sum(loss: ReducedLoss, total: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Raises TaskError if a function that declares a sum returns the mean over a batch."""
    parts = measure_parts(loss, total, batch) if loss.reduction == "sum" else None
    if parts is None:
        return
    shares = [count / parts.count for count in parts.counts]
    mean = sum(share * value for share, value in zip(shares, parts.totals, strict=True))
    if not parts.is_mean and abs(parts.whole - mean) <= MEAN_RTOL * sum(map(abs, parts.totals)):
        raise TaskError(
            f"loss {loss.name} has reduction='sum', and returns a mean: {parts.whole:.6g} for {batch.size} samples, "
            f"{mean:.6g} on average in parts",
            fix="reduction = 'mean', or return the sum over the samples",
        )


def require_mean(metric: Loss, total: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Raises TaskError if a user's metric is not a mean over samples: batches would then change the result."""
    parts = measure_parts(metric, total, batch)
    if parts is not None and not parts.is_mean:
        raise TaskError(
            f"metric {metric.name} is not a mean over samples: {parts.together:.6g} for {batch.size} samples "
            f"together, {parts.apart:.6g} on average in parts",
            why="it returns a sum, a weighted mean, leaves targets out, or depends on other samples of the batch",
            fix="return one value per sample, shape (N,)",
        )


def shapes(tree: Any) -> str:
    """The shapes and dtypes of the tensors of a batch or an output, for messages."""
    return listing(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in leaves(tree)) or type(tree).__name__


def select_loss(model: nn.Module, loss: Any, output: Any, first: Batch, outputs: Outputs | None) -> tuple[Loss, str]:
    """The given loss, or the one that output and targets imply with a note on it; fitted to the outputs' kind."""
    chosen, note = _choose(model, loss, output, first, outputs)
    return fit_to_outputs(chosen, output, outputs), note


def _choose(model: nn.Module, loss: Any, output: Any, first: Batch, outputs: Outputs | None) -> tuple[Loss, str]:
    if is_own_output(output) and isinstance(loss, str) and loss in BUILT_IN_LOSSES:
        raise TaskError(
            f"--loss {loss} takes a tensor, and the model returns a {type(output).__name__} with a loss of its own",
            fix="leave --loss out, or --loss hf",
        )
    own_targets = (
        isinstance(first.inputs, Tensor)
        and isinstance(first.targets, Tensor)
        and (first.inputs is first.targets or (not first.inputs.is_meta and torch.equal(first.inputs, first.targets)))
    )
    if loss == HF or (loss is None and is_own_output(output)):
        own = own_loss(output, first.targets, own_targets=own_targets, model=model)
        return own, f"loss inferred from the {own.origin}" if loss is None or own is OWN_MEAN else ""
    if loss is not None:
        given = as_loss(loss)
        return given, given.note if isinstance(given, ModuleLoss | ReducedLoss) else ""
    if own_targets and not first.inputs.is_floating_point():
        raise TaskError(
            "no loss is given for integers without targets",
            why="a model that gives a token itself back has nothing to predict",
            fix="yield (ids[:, :-1], ids[:, 1:]), or name the --loss",
        )
    require_logits(output, first.targets, outputs)
    inferred = infer_loss(output, first.targets)
    return inferred, f"loss inferred from the shapes: {inferred.name}"


def _total(loss: Loss, output: Any, batch: Batch) -> Tensor:
    return loss.total(loss.structure.scored_output(output), batch.targets)


def _describe_output(output: Any) -> str:
    return f"of {shapes(output)}" if isinstance(output, Tensor) else f"a {type(output).__name__} of {shapes(output)}"
