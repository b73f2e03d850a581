"""A trial on the first samples of everything that a measurement takes for granted of a model and a loss."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch, leaves
from landscape.errors import LandscapeError, TaskError, listing
from landscape.losses import huggingface
from landscape.losses.huggingface import LogitsLoss
from landscape.losses.loss import BY_NAME, TAKE_APART, FunctionLoss, Loss, as_loss, infer

SAME_LOSS = 1e-3  # relative: a model may compute its loss in another precision
FREE_SIZE = (
    "export the program for any number of samples: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim('samples')},))"
)
ROUNDING = 1e-4  # relative to the largest output: far above float32 rounding, far below what dropout does
NOT_A_MEAN = 1e-3  # relative: far above float32 rounding, far below the factor of a sum


def choose_loss(forward: Callable[[Batch], Any], loss: Any, first: Batch) -> Loss:
    """The loss to measure with, inferred from the shapes if None.

    `forward` maps a batch to the model's output, with a graph to the parameters. Raises TaskError if it fails, is
    random, or changes its inputs, and if the loss fails, is no mean over samples, or cuts the graph.
    """
    output = _deterministic_output(forward, first)
    known = list(leaves(output))  # none if the model returns an object of its own
    if known and not any(tensor.requires_grad for tensor in known):
        raise TaskError(
            "the model's output does not depend on the parameters that are measured",
            why="they are not used, or the forward pass runs under no_grad or detaches",
            fix="choose others with --params, or let gradients through",
        )
    try:
        chosen = _chosen(loss, output, first)
        total = chosen.total(huggingface.taken(chosen, output), first.targets)
    except LandscapeError:
        raise
    except Exception as error:  # the user's loss may raise anything
        raise TaskError(
            f"the loss cannot take the model's output: {type(error).__name__}: {error}",
            why=f"output {_kind(output)}, targets of {shapes(first.targets)}",
            fix="check --loss, and the targets that --data yields; --debug shows the traceback"
            if isinstance(output, Tensor)
            else TAKE_APART,
        ) from error
    if not (isinstance(total, Tensor) and total.requires_grad):
        raise TaskError(
            f"loss {chosen.name} has no gradient",
            why="it leaves torch, detaches or rounds",
            fix="compute it with torch",
        )
    if isinstance(chosen, FunctionLoss):
        _require_mean(chosen, forward, first, float(total.detach()))
    return chosen


def require_own_loss(loss: LogitsLoss, model: nn.Module, forward: Callable[[Batch], Any], first: Batch) -> None:
    """Raises TaskError if the model, given the labels, computes another loss than the one written out."""
    count = loss.count(first.targets)
    accepted = inspect.signature(model.forward).parameters
    if not isinstance(first.inputs, dict) or count == 0 or "labels" not in accepted:
        return
    inputs = {**first.inputs, "labels": huggingface.labels_of(first.targets)}
    config: Any = getattr(model, "config", None)
    model.config = copy.deepcopy(config)  # the model writes into it what it makes of the labels
    try:
        with huggingface.quiet_transformers():
            own = getattr(forward(replace(first, inputs=inputs)), "loss", None)
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot compute its own loss from these labels: {type(error).__name__}: {error}",
            why=f"labels of {shapes(first.targets)}",
            fix="check the labels, or --loss pkg.mod:function(output, target)",
        ) from error
    finally:
        model.config = config
    written = float(loss.total(loss.select(forward(first)), first.targets).detach()) / count
    if not isinstance(own, Tensor) or math.isnan(written):  # NaN is told of the loss over all data
        return
    if not abs(float(own.detach()) - written) <= SAME_LOSS * abs(written):
        raise TaskError(
            f"the model's own loss is {float(own.detach()):.6g} on the first {first.size} samples, not {written:.6g}",
            why=f"it is no {loss.inner.name} of its logits and labels alone",
            fix="--loss pkg.mod:function(output, target), with the loss that is meant",
        )


def _chosen(loss: Any, output: Any, first: Batch) -> Loss:
    if huggingface.has_logits(output) and isinstance(loss, str) and loss in BY_NAME:
        raise TaskError(
            f"--loss {loss} takes a tensor, and the model returns a {type(output).__name__} with a loss of its own",
            fix="leave --loss out, or --loss hf",
        )
    whole = (
        isinstance(first.inputs, Tensor)
        and isinstance(first.targets, Tensor)
        and torch.equal(first.inputs, first.targets)
    )
    if loss == huggingface.HF or (loss is None and huggingface.has_logits(output)):
        return huggingface.own_loss(output, first.targets, own_targets=whole)
    if loss is not None:
        return as_loss(loss)
    if whole and not first.inputs.is_floating_point():
        raise TaskError(
            "no loss is given for integers without targets",
            why="a model that gives a token itself back has nothing to predict",
            fix="yield (ids[:, :-1], ids[:, 1:]), or name the --loss",
        )
    return infer(output, first.targets)


def shapes(tree: Any) -> str:
    """The shapes and dtypes of the tensors of a batch or an output, for messages."""
    return listing(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in leaves(tree)) or type(tree).__name__


def _deterministic_output(forward: Callable[[Batch], Any], first: Batch) -> Any:
    used = first.map(Tensor.clone)
    try:
        output, again = forward(used), forward(first.map(Tensor.clone))
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot take the data: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(first.inputs)}{_by_name(first.inputs)}",
            fix=FREE_SIZE
            if "Guard failed" in str(error)  # what a program of torch.export says
            else "check that --data yields (inputs, targets) as the model wants them; --debug shows the traceback",
        ) from error
    if not all(_same(a, b) for a, b in zip(leaves(output), leaves(again), strict=True)):
        raise TaskError(
            "the model gives two different outputs for the same input",
            why="something random is on in eval mode, e.g. functional.dropout without training=self.training",
            fix="make the forward pass deterministic in eval mode",
        )
    pairs = zip(leaves(used.inputs), leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError("the model changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def _by_name(inputs: Any) -> str:
    named = f", given by name: {listing(inputs)}" if isinstance(inputs, dict) else ""
    return f"{named}; a batch of two is a pair if they are called inputs and targets, or x and y" if named else ""


def _kind(output: Any) -> str:
    return f"of {shapes(output)}" if isinstance(output, Tensor) else f"a {type(output).__name__} of {shapes(output)}"


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding: where buffers begin in memory may change the order of a sum."""
    if one.shape != other.shape or torch.equal(one, other) or bool(one.isnan().any()):
        return one.shape == other.shape
    if not one.is_floating_point():
        return False
    finite = one.isfinite() & other.isfinite()
    gap, scale = (one - other)[finite].abs(), one[finite].abs()
    return bool((one == other)[~finite].all()) and bool(gap.max() <= ROUNDING * scale.max())


def _require_mean(loss: FunctionLoss, forward: Callable[[Batch], Any], first: Batch, whole: float) -> None:
    """Raises TaskError if a user's function is not a mean over samples: batches would then change the result."""
    uneven = max(1, 5 * first.size // 8)  # halves could have equal shares of what a mean leaves out
    try:
        parts = [float(loss.total(forward(part), part.targets).detach()) for part in first.split(uneven)]
    except Exception:  # it cannot take a batch of another size; then nothing is known
        return
    together, apart = whole / first.size, sum(parts) / first.size
    # what is not finite is not judged here: the loss over all data will be
    if math.isfinite(together - apart) and abs(together - apart) > NOT_A_MEAN * sum(map(abs, parts)) / first.size:
        raise TaskError(
            f"loss {loss.name} is not a mean over samples: {together:.6g} for {first.size} samples together, "
            f"{apart:.6g} on average in parts",
            why="it returns a sum, a weighted mean, leaves targets out, or depends on other samples of the batch",
            fix="return one loss per sample, shape (N,), or use --loss cross_entropy, which leaves out targets of -100",
        )
