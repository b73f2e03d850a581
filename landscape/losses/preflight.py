"""Preflight checks on the first samples: deterministic, differentiable, a mean over samples, the model's own loss."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch, leaves
from landscape.errors import LandscapeError, TaskError, listing
from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.losses.huggingface import HF, LogitsLoss, has_logits, labels_of, own_loss, quiet_transformers
from landscape.losses.protocol import Loss
from landscape.losses.structure_check import require_declared_structure
from landscape.losses.user import LOSS_OF_CONTAINERS, FunctionLoss, as_loss, infer_loss

OWN_LOSS_RTOL = 1e-3  # between the model's own loss and landscape's: a model may compute its loss in another precision
OUTPUT_RTOL = 1e-4  # of the largest output: far above float32 rounding, far below the effect of dropout
MEAN_RTOL = 1e-3  # between a batch and its parts: far above float32 rounding, far below the factor of a sum
EXPORT_WITH_FREE_SIZE = (
    "export the program for any number of samples: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim('samples')},))"
)


def choose_loss(model: nn.Module, forward: Callable[[Batch], Any], loss: Any, first: Batch) -> tuple[Loss, str]:
    """The loss to measure with, and a note on where it came from if it was inferred (`loss` is None).

    `forward` maps a batch to the model's output, with a graph to the parameters. Raises TaskError if it fails, is
    random, or changes its inputs, and if the loss fails, is no mean over samples, cuts the graph, or has another
    structure than it declares.
    """
    output = require_deterministic_output(forward, first)
    tensors = list(leaves(output))  # none if the model returns an object of its own
    if tensors and not any(tensor.requires_grad for tensor in tensors):
        raise TaskError(
            "the model's output does not depend on the parameters that are measured",
            why="they are not used, or the forward pass runs under no_grad or detaches",
            fix="choose others with --params, or let gradients through",
        )
    try:
        chosen, note = _select(loss, output, first)
        total = _total(chosen, output, first)
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
    if isinstance(chosen, FunctionLoss):
        require_mean(chosen, lambda piece: _total(chosen, forward(piece), piece), first, "loss")
    elif isinstance(chosen, LogitsLoss):
        require_own_loss(chosen, model, forward, first)
    elif chosen is loss:  # the user's object with a structure
        require_declared_structure(chosen, chosen.structure.scored_output(output), first.targets)
    return chosen, note


def require_own_loss(loss: LogitsLoss, model: nn.Module, forward: Callable[[Batch], Any], first: Batch) -> None:
    """Raises TaskError if the model, given the labels, computes another loss than landscape does."""
    count = loss.count(first.targets)
    accepted = inspect.signature(model.forward).parameters
    if not isinstance(first.inputs, dict) or count == 0 or "labels" not in accepted:
        return
    inputs = {**first.inputs, "labels": labels_of(first.targets)}
    config: Any = getattr(model, "config", None)
    model.config = copy.deepcopy(config)  # the model may write into it while it looks at the labels
    try:
        with quiet_transformers():
            own = getattr(forward(replace(first, inputs=inputs)), "loss", None)
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot compute its own loss from these labels: {type(error).__name__}: {error}",
            why=f"labels of {shapes(first.targets)}",
            fix="check the labels, or --loss pkg.mod:function(output, target)",
        ) from error
    finally:
        model.config = config
    computed = float(_total(loss, forward(first), first).detach()) / count
    if not isinstance(own, Tensor) or math.isnan(computed):  # the loss over all data will report NaN
        return
    if not abs(float(own.detach()) - computed) <= OWN_LOSS_RTOL * abs(computed):
        raise TaskError(
            f"the model's own loss is {float(own.detach()):.6g} on the first {first.size} samples, not {computed:.6g}",
            why=f"it is no {loss.inner.name} of its logits and labels alone",
            fix="--loss pkg.mod:function(output, target), with the loss that is meant",
        )


def require_mean(loss: Loss, total: Callable[[Batch], Tensor], batch: Batch, noun: Literal["loss", "metric"]) -> None:
    """Raises TaskError if a user's function is not a mean over samples: batches would then change the result.

    `total` is the function's sum over a batch. A function that fails on a part of the batch is not judged.
    """
    uneven = max(1, 5 * batch.size // 8)  # halves could have equal shares of the targets that a mean leaves out
    pieces = list(batch.split(uneven))
    whole = float(total(batch).detach())
    try:
        parts = [float(total(piece).detach()) for piece in pieces]
    except Exception:  # it cannot take a batch of another size; then nothing is known
        return
    count = sum(loss.count(piece.targets) for piece in pieces)
    together, apart = whole / loss.count(batch.targets), sum(parts) / count
    # values that are not finite are not judged here: the loss over all data will be
    if math.isfinite(together - apart) and abs(together - apart) > MEAN_RTOL * sum(map(abs, parts)) / count:
        others = ", or use --loss cross_entropy, which leaves out targets of -100" if noun == "loss" else ""
        raise TaskError(
            f"{noun} {loss.name} is not a mean over samples: {together:.6g} for {batch.size} samples together, "
            f"{apart:.6g} on average in parts",
            why="it returns a sum, a weighted mean, leaves targets out, or depends on other samples of the batch",
            fix=f"return one {'loss' if noun == 'loss' else 'value'} per sample, shape (N,){others}",
        )


def require_deterministic_output(forward: Callable[[Batch], Any], first: Batch) -> Any:
    """The model's output on the first samples; raises TaskError if it fails, is random, or changes its inputs."""
    used = first.map(Tensor.clone)
    try:
        output, again = forward(used), forward(first.map(Tensor.clone))
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot take the data: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(first.inputs)}{_describe_names(first.inputs)}",
            fix=EXPORT_WITH_FREE_SIZE
            if "Guard failed" in str(error)  # the message of a program of torch.export
            else "check that --data yields (inputs, targets) as the model wants them; --debug shows the traceback",
        ) from error
    if not all(_equal_but_for_rounding(a, b) for a, b in zip(leaves(output), leaves(again), strict=True)):
        raise TaskError(
            "the model gives two different outputs for the same input",
            why="something random is on in eval mode, e.g. functional.dropout without training=self.training",
            fix="make the forward pass deterministic in eval mode",
        )
    pairs = zip(leaves(used.inputs), leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError("the model changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def shapes(tree: Any) -> str:
    """The shapes and dtypes of the tensors of a batch or an output, for messages."""
    return listing(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in leaves(tree)) or type(tree).__name__


def _select(loss: Any, output: Any, first: Batch) -> tuple[Loss, str]:
    """The given loss, or the one that output and targets imply with a note on it."""
    if has_logits(output) and isinstance(loss, str) and loss in BUILT_IN_LOSSES:
        raise TaskError(
            f"--loss {loss} takes a tensor, and the model returns a {type(output).__name__} with a loss of its own",
            fix="leave --loss out, or --loss hf",
        )
    own_targets = (
        isinstance(first.inputs, Tensor)
        and isinstance(first.targets, Tensor)
        and torch.equal(first.inputs, first.targets)
    )
    if loss == HF or (loss is None and has_logits(output)):
        own = own_loss(output, first.targets, own_targets=own_targets)
        return own, f"loss inferred from the {own.origin}" if loss is None else ""
    if loss is not None:
        return as_loss(loss), ""
    if own_targets and not first.inputs.is_floating_point():
        raise TaskError(
            "no loss is given for integers without targets",
            why="a model that gives a token itself back has nothing to predict",
            fix="yield (ids[:, :-1], ids[:, 1:]), or name the --loss",
        )
    inferred = infer_loss(output, first.targets)
    return inferred, f"loss inferred from the shapes: {inferred.name}"


def _total(loss: Loss, output: Any, batch: Batch) -> Tensor:
    return loss.total(loss.structure.scored_output(output), batch.targets)


def _describe_names(inputs: Any) -> str:
    named = f", given by name: {listing(inputs)}" if isinstance(inputs, dict) else ""
    return f"{named}; a batch of two is a pair if they are called inputs and targets, or x and y" if named else ""


def _describe_output(output: Any) -> str:
    return f"of {shapes(output)}" if isinstance(output, Tensor) else f"a {type(output).__name__} of {shapes(output)}"


def _equal_but_for_rounding(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs agree: where buffers begin in memory may change the order of a sum."""
    if one.shape != other.shape or torch.equal(one, other) or bool(one.isnan().any()):
        return one.shape == other.shape
    if not one.is_floating_point():
        return False
    finite = one.isfinite() & other.isfinite()
    gap, scale = (one - other)[finite].abs(), one[finite].abs()
    return bool((one == other)[~finite].all()) and bool(gap.max() <= OUTPUT_RTOL * scale.max())
