"""The loss, the micro-batch and the time of one gradient, without any check: what a plan takes of a model.

It costs at most two gradients of one micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.choices import Outputs
from landscape.compute.timing import run_seconds
from landscape.data.batches import Batch, to_device
from landscape.data.survey import Batches
from landscape.data.trees import leaves
from landscape.losses.preflight import select_loss
from landscape.losses.protocol import Loss
from landscape.losses.terms import TermsLoss, read_terms
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.micro_batch import (
    Activations,
    SampleCost,
    plan_micro_batch,
    run_on_fitting_parts,
    watch_activations,
)
from landscape.objective.model_function import ModelFunction
from landscape.objective.objective_function import ObjectiveFunction

FEW_SAMPLES = 2  # of the first gradient: with one alone the shapes of outputs and targets may be ambiguous
FORWARD_AND_BACKWARD = 1.5  # of a backward pass alone, which multiplies twice where the forward pass does once


@dataclass(frozen=True)
class FirstGradient:
    """The function and the loss with a note on it, the micro-batch, and what a gradient takes for each sample."""

    function: ModelFunction
    loss: Loss
    note: str
    activation_bytes: int
    micro_batch: int
    cost: SampleCost


def first_gradient(
    function: ModelFunction,
    theta: Tensor,
    loss: Any,
    batches: Batches,
    *,
    micro_batch: int | None,
    outputs: Outputs | None,
    objective: ObjectiveFunction | None,
    adapt: Callable[[ModelFunction, int], ModelFunction],
) -> FirstGradient:
    """Chooses the loss in a gradient of two samples, and times the gradient of one micro-batch.

    Arguments are as in `prepare`; `adapt` gives the function to go on with, by the bytes that a forward pass keeps of
    each sample: the same, or one that keeps less. Raises whatever the model or the loss raises, and OutOfMemory if one
    sample does not fit.
    """
    beginning = batches.whole or next(iter(batches))
    few = to_device(next(beginning.split(FEW_SAMPLES)), theta.device, theta.dtype).map(Tensor.clone)
    point = theta.detach().requires_grad_()
    chosen: list[tuple[Loss, str, int]] = []

    def total() -> Tensor:
        output = function.call(few)  # which the loss is chosen by
        picked, note = _loss_of(function, loss, output, few, outputs, objective, batches.samples)
        of = BatchLoss(function, picked)
        scored = output if isinstance(picked, TermsLoss) else of.scored_output(output)
        chosen[:] = [(picked, note, sum(tensor.nbytes for tensor in leaves(scored)) // few.size)]
        return of.with_graph(of.loss_total(scored, few), point)

    def look() -> tuple[ModelFunction, Activations, float | None]:
        value, kept = watch_activations(lambda: function.forward(point, total), point)
        adapted = adapt(function, kept.of_sample(few.size).size)
        if adapted is not function:  # a forward pass of that one takes the place of the backward pass
            return adapted, kept, None
        return function, kept, run_seconds(lambda: torch.autograd.grad(value, point)[0])

    with torch.enable_grad():
        function, kept, backward = look()
        if backward is None:
            few = next(few.split(1))
            kept = watch_activations(lambda: function.forward(point, total), point)[1]
    ((picked, note, output_bytes),) = chosen
    each = kept.of_sample(few.size)
    size = micro_batch or plan_micro_batch(batches, each, theta, function.space.size)
    if backward is not None and few.size > size:  # the gradient of a micro-batch would be the third
        seconds = FORWARD_AND_BACKWARD * backward / few.size
    else:
        seconds, size = _time_micro_batch(BatchLoss(function, picked), theta, next(beginning.split(size)), size)
    return FirstGradient(function, picked, note, each.size, size, SampleCost(seconds, output_bytes))


def _time_micro_batch(total: BatchLoss, theta: Tensor, batch: Batch, size: int) -> tuple[float, int]:
    """The seconds of a gradient for each sample of one micro-batch, and the micro-batch: less where memory runs out."""
    sizes = [size]
    seconds = 0.0

    def kernel(part: Batch) -> None:
        nonlocal seconds
        seconds += run_seconds(lambda: total.batch_gradient(theta, part)[1])

    for _ in run_on_fitting_parts(kernel, batch, theta.device, theta.dtype, sizes.append):
        pass
    return seconds / batch.size, sizes[-1]


def _loss_of(
    function: ModelFunction,
    loss: Any,
    output: Any,
    batch: Batch,
    outputs: Outputs | None,
    objective: ObjectiveFunction | None,
    samples: int,
) -> tuple[Loss, str]:
    """The loss of an output and a note on it; of an objective's losses, each term counted once for each sample."""
    if objective is None or objective.has_outputs:
        return select_loss(function.module, loss, output, batch, outputs)
    terms = TermsLoss(
        objective.name, dict.fromkeys(read_terms(output, objective.name), float(samples)), samples, separate=True
    )
    return (terms if objective.term is None else terms.only(objective.term)), ""
