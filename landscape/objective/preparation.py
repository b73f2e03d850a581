"""Preparation of an objective before its first pass: weights, data, loss, the number of terms, and the micro-batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.compute.budget import room
from landscape.compute.precision import full_precision
from landscape.data.batches import Batch, leaves, to_device
from landscape.data.concatenation import concatenate, samples_are_independent
from landscape.data.survey import Batches, FirstSamples, survey
from landscape.errors import NumericalError, listing
from landscape.losses.huggingface import padding_count, padding_token
from landscape.losses.preflight import choose_loss
from landscape.losses.protocol import Loss
from landscape.network.filters import filter_axes
from landscape.network.space import ParameterSpace
from landscape.network.weight_norm import uses_weight_norm
from landscape.network.wrappers import trainable_parameters, unwrap
from landscape.objective.micro_batch import activation_bytes, plan_micro_batch
from landscape.objective.model_function import BatchLoss, ModelFunction
from landscape.objective.views import count_terms

TRIAL_SAMPLES = 8  # on which model and loss are tried: enough to see batch effects, few enough for any memory
KERNEL_ROUNDING = 1e-4  # of the largest output: far above float32 rounding, far below what another function gives


@dataclass(frozen=True)
class Weights:
    """The model as a function of theta, and its trainable parameters `(P,)` as the checkpoint has them."""

    function: ModelFunction
    theta: Tensor
    sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A model, its data and its loss, tried on the first samples; `joinable` says that batches may be concatenated."""

    function: ModelFunction
    loss: Loss
    batches: Batches
    count: int
    joinable: bool
    activation_bytes: int
    micro_batch: int
    notes: tuple[str, ...]


def prepare_weights(model: nn.Module, params: tuple[str, ...], device: torch.device, dtype: torch.dtype) -> Weights:
    """Copies of the model's parameters and buffers on the device, those selected by `params` as one vector.

    Raises TaskError for a model without parameters that can be measured, NumericalError for NaN or infinity in them.
    """
    module = unwrap(model)
    space = ParameterSpace.of(trainable_parameters(module), filter_axes(module)).select(params)
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    tensors = {
        name: tensor.detach().to(device, dtype if tensor.is_floating_point() else None, copy=True)
        for name, tensor in named.items()
    }
    masks = {name for name, buffer in module.named_buffers() if bool((buffer == -torch.inf).any())}
    require_finite_tensors({name: tensor for name, tensor in tensors.items() if name not in masks}, "weights")
    fixed = {name: tensor for name, tensor in tensors.items() if name not in set(space.names)}
    function = ModelFunction(module, space, fixed, weight_norm=uses_weight_norm(module))
    return Weights(function, space.flatten(tensors), _sha256(tensors), tuple(_narrow_weights(named, dtype)))


def prepare(
    weights: Weights,
    data: Any,
    loss: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    micro_batch: int | None,
    limit: int | None,
    tf32: bool,
) -> Prepared:
    """Surveys the data, chooses and tries the loss, and plans the micro-batch, which `micro_batch` overrides.

    `data`, `loss` and `limit` are as in `Objective`. Raises TaskError for data, a model or a loss that cannot be
    measured.
    """
    budget = room("data", device)
    beginning = None if limit is None else FirstSamples(data, limit)
    batches = survey(beginning or data, device=device, dtype=dtype, budget=budget)
    first = to_device(next(next(iter(batches)).split(TRIAL_SAMPLES)), device, dtype)
    with full_precision(tf32):
        chosen, loss_note = _try_loss(weights, loss, first)
        batch_loss = BatchLoss(weights.function, chosen)
        function = replace(weights.function, needs_gradients=_needs_gradients(batch_loss, weights.theta, first))
    batch_loss = BatchLoss(function, chosen)
    count = count_terms(chosen.count, batches)
    notes = [
        *weights.notes,
        loss_note,
        _padding_note(chosen, function.module, batches),
        _limit_note(limit) if beginning and beginning.cut else "",
    ]
    whole = concatenate(batches, budget)
    with full_precision(tf32):
        each = activation_bytes(batch_loss.batch_total, weights.theta, first)
        joinable = samples_are_independent(lambda batch: batch_loss.batch_total(weights.theta, batch), whole)
    batches = whole if joinable else batches
    return Prepared(
        function=function,
        loss=chosen,
        batches=batches,
        count=count,
        joinable=joinable,
        activation_bytes=each,
        micro_batch=micro_batch or plan_micro_batch(batches, each, device),
        notes=tuple(filter(None, notes)),
    )


def require_finite_tensors(tensors: Mapping[str, Tensor], kind: str) -> None:
    """Raises NumericalError, with their names, if any of the tensors holds NaN or infinity."""
    bad = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()})"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise NumericalError(
            f"NaN or infinity in {kind}: {listing(bad)}",
            fix="measure an earlier checkpoint; landscape never repairs weights",
        )


def _try_loss(weights: Weights, loss: Any, first: Batch) -> tuple[Loss, str]:
    """The loss to measure with, tried on the first samples, and a note if it was inferred."""
    function = weights.function
    with torch.enable_grad():
        theta = weights.theta.detach().requires_grad_()
        return choose_loss(function.module, lambda batch: function.output(theta, batch), loss, first)


def _needs_gradients(batch_loss: BatchLoss, theta: Tensor, first: Batch) -> bool:
    """Whether the model's output, or its loss, fails or is another one while gradients are not recorded."""
    with torch.enable_grad():
        expected = batch_loss.model_output(theta.detach().requires_grad_(), first.map(Tensor.clone))
    try:
        with torch.no_grad():
            output = batch_loss.model_output(theta, first.map(Tensor.clone))
            batch_loss.loss_total(batch_loss.scored_output(output), first)
    except Exception:  # the user's model may raise anything
        return True
    return not all(_equal_but_for_rounding(a, b) for a, b in zip(leaves(expected), leaves(output), strict=True))


def _equal_but_for_rounding(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs are equal but for rounding."""
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    finite = one.detach()[one.isfinite()].abs()
    scale = float(finite.max()) if len(finite) else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=KERNEL_ROUNDING * scale, equal_nan=True)


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _narrow_weights(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> list[str]:
    """A note on weights that are held in less precision than they are measured in, or nothing."""
    narrow = {str(t.dtype) for t in tensors.values() if t.is_floating_point() and t.itemsize < 4}
    note = f"{', '.join(sorted(narrow))} weights are computed in {dtype}"
    return [note.replace("torch.", "")] if narrow else []


def _padding_note(loss: Loss, model: nn.Module, batches: Batches) -> str:
    """A note on scored tokens that look like padding, or ""."""
    token = padding_token(loss, model)
    padded = sum(padding_count(loss, token, batch.targets) for batch in batches)
    remedy = "if they are, give attention_mask or labels of -100"
    return f"{padded:,} scored tokens are {token}, as padding is: {remedy}" if padded else ""


def _limit_note(limit: int | None) -> str:
    biased = "fewer samples bias the largest eigenvalue, and every worst case, upwards"
    return f"only the first {limit:,} samples are measured: {biased}"
