"""Whether the loss is a mean over samples, whatever batch they are in, so that batches may be split and joined.

Where it is not (batch statistics, contrastive losses, class weights inside a mean, experts with a capacity), the
objective is that of the batches as they are given: the mean of their losses, weighted by their samples or counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from landscape.compute.budget import room
from landscape.compute.inner_products import norm
from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch, to_device, uneven_size
from landscape.errors import LandscapeError
from landscape.objective.checks.check import Check, Outcome, Trial, sample_count
from landscape.objective.checks.float64 import in_float64, restrict

TRIED_BATCHES = 3  # of data whose batches cannot be joined: the first, one from the middle, the last
MAX_DEPENDENCE = 1e-4  # relative to the sum: above float32 rounding, far below the effect of batch statistics
# Between gradients of a few samples in float64, relative to those of the parts: what is weak in the loss may be a large
# part of its derivatives. The limit is above the rounding of models that compute parts in float32.
MAX_DEPENDENCE_OF_FEW = 1e-5
Total = Callable[[Batch], Tensor]


def examine_independence(trial: Trial) -> Outcome:
    """Compares gradients of a few samples together and apart, and losses of batches as given and as measured."""
    if trial.batches.unit:
        return Outcome("noted", trial.batches.note)
    function = trial.function
    if function.mode == "train" and (function.written or function.draws_numbers):
        return _keep_batches("in train mode batch statistics and random masks belong to a batch")
    worst: float | None = None
    try:
        for gap, limit in _gaps(trial):
            if gap is not None and gap > limit:
                reason = f"together and apart differ by {gap:.1e}"
                return _keep_batches(f"samples depend on the others in their batch: {reason}")
            worst = gap if worst is None or (gap is not None and gap > worst) else worst
    except LandscapeError as error:  # e.g. an exported program that takes one batch size
        return _keep_batches(f"the model takes no other batches than the given ones ({error.what})")
    if worst is None:
        return Outcome("not run", "the samples that were tried do not decide it: batches are left apart")
    found = f"samples together and apart differ by {worst:.1e}"
    return Outcome("holds", found, error=worst, changes={"joinable": trial.joined.whole is not None})


INDEPENDENCE = Check(
    "independence",
    "a sample's loss does not depend on its batch",
    "2 gradients of a few samples, 2 forward passes of the batches that are split or joined",
    examine_independence,
)


def _gaps(trial: Trial) -> Iterator[tuple[float | None, float]]:
    """The relative gaps between the same samples in other batches, each with the largest that is rounding."""
    for few in _spread_samples(trial):
        if few.size > 1:
            yield _gap_of_few(trial, few, list(few.split(uneven_size(few.size))))
    for some, others in _comparisons(trial):
        gap = _relative_gap(_total(trial), some, others)
        if gap is not None and gap > MAX_DEPENDENCE:  # rounding, where the loss is near 0, or dependence
            gap = min(gap, _gap_in_float64(trial, some, others))
        yield gap, MAX_DEPENDENCE


def _gap_of_few(trial: Trial, together: Batch, parts: Sequence[Batch]) -> tuple[float | None, float]:
    """The gap of a few samples' gradients in float64, with its limit; that of losses for models in float32 alone."""
    if trial.function.in_parts:
        return _relative_gap(_total(trial), [together], parts), MAX_DEPENDENCE
    try:
        return _gradient_gap(_in_float64(trial), together, parts), MAX_DEPENDENCE_OF_FEW
    except Exception as error:  # the model computes in float32 alone, or memory runs out
        if not isinstance(error, LandscapeError) and not is_out_of_memory(error):
            raise
        return _relative_gap(_total(trial), [together], parts), MAX_DEPENDENCE


def _gradient_gap(trial: Trial, together: Batch, parts: Sequence[Batch]) -> float | None:
    """The relative difference between the gradient of samples together and the sum over parts; None if it is 0."""

    def gradient(batch: Batch) -> Tensor:
        """The gradient of the summed loss, `(P,)`."""
        placed = to_device(batch, trial.device, trial.theta.dtype)
        return trial.batch_loss.batch_gradient(trial.theta, placed.map(Tensor.clone))[1]

    whole, apart = gradient(together), torch.stack([gradient(part) for part in parts])
    gap, *sizes = map(norm, (whole - apart.sum(dim=0), whole, apart))
    scale = max(sizes)  # a contrastive loss of one sample is 0, and so is its gradient
    return gap / scale if scale and math.isfinite(gap) else None


def _in_float64(trial: Trial) -> Trial:
    """The trial with the model in float64, a large one as a function of its smallest tensors."""
    function, theta = in_float64(*restrict(trial.function, trial.theta), trial.loss, trial.fresh_batch())
    return replace(trial, function=function, theta=theta)


def _total(trial: Trial) -> Total:
    """The summed loss of a batch without a graph, as a function of the batch."""

    def total(batch: Batch) -> Tensor:
        """The summed loss at theta."""
        with torch.no_grad():
            return trial.batch_loss.batch_total(trial.theta, to_device(batch, trial.device, trial.theta.dtype))

    return total


def _gap_in_float64(trial: Trial, some: Sequence[Batch], others: Sequence[Batch]) -> float:
    """The gap between the same losses in float64; infinite if it cannot be told in float64."""
    if trial.function.in_parts:
        return math.inf
    try:
        gap = _relative_gap(_total(_in_float64(trial)), some, others)
    except LandscapeError:
        return math.inf
    return math.inf if gap is None else gap


def _comparisons(trial: Trial) -> Iterator[tuple[Sequence[Batch], Sequence[Batch]]]:
    """The same samples in batches as given, and as they are measured."""
    whole, size = trial.joined.whole, trial.micro_batch
    own = max(trial.batches, key=lambda batch: batch.size) if trial.batches.kept else next(iter(trial.batches))
    if whole is not None and own.size <= size and own.size < whole.size:
        yield list(trial.batches), list(whole.split(size))
    elif own.size > size and _fits(trial, own.size):
        yield [own], list(own.split(size))


def _spread_samples(trial: Trial) -> list[Batch]:
    """A few samples from the whole length of the data as one batch, or of several batches that cannot be joined."""
    whole = trial.joined.whole
    if whole is not None:
        count = min(2 * sample_count(trial.theta.numel()), whole.size)
        places = torch.linspace(0, whole.size - 1, count).round().long()
        return [whole.map(lambda tensor: tensor[places.to(tensor.device)])]
    if not trial.batches.kept:
        return [next(next(iter(trial.batches)).split(2 * sample_count(trial.theta.numel())))]
    every = list(trial.batches)
    tried = sorted({round(index) for index in torch.linspace(0, len(every) - 1, TRIED_BATCHES).tolist()})
    return [next(every[index].split(2 * sample_count(trial.theta.numel()))) for index in tried]


def _fits(trial: Trial, samples: int) -> bool:
    """Whether the activations of so many samples have room, which a pass without a graph frees one by one."""
    return samples * trial.activations.size <= room("micro-batch", trial.device)


def _relative_gap(total: Total, some: Sequence[Batch], others: Sequence[Batch]) -> float | None:
    """The difference between the losses of the same samples in two sets of batches, relative to the sum of sizes.

    None if it cannot be told: the losses are 0 or not finite, or the batches do not fit into memory.
    """
    try:
        losses, other = [float(total(batch)) for batch in some], [float(total(batch)) for batch in others]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None  # the measurement will split the batch, or say that it does not fit
    gap, scale = abs(sum(losses) - sum(other)), max(sum(map(abs, losses)), sum(map(abs, other)))
    return gap / scale if scale and math.isfinite(gap) else None


def _keep_batches(reason: str) -> Outcome:
    found = f"{reason}; the objective is that of the batches as they are given, which are never split or joined"
    return Outcome("noted", found, changes={"as_given": True, "joinable": False})
