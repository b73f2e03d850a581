"""The same model and weights on other data: the first samples, consecutive parts, and whole other data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from landscape.compute.budget import room
from landscape.data.batches import Batch, to_device
from landscape.data.concatenation import concatenate
from landscape.data.survey import Batches, survey
from landscape.errors import NothingCountedError, TaskError
from landscape.losses.own_arguments import with_own_arguments
from landscape.losses.terms import TermsLoss
from landscape.network.one_dictionary import AsOneArgument
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.micro_batch import dealt_micro_batch
from landscape.objective.objective_function import TRIAL_SAMPLES, try_terms

if TYPE_CHECKING:
    from landscape.objective.objective import Objective


def on_first_samples(objective: Objective, samples: int) -> Objective:
    """The objective over its first `samples` samples at most, and no more than its first batch holds."""
    beginning = objective.batches.whole or next(iter(objective.batches))
    return _on_batches(objective, [to_device(next(beginning.split(samples)), objective.device, objective.dtype)])


def on_consecutive_parts(objective: Objective, samples: int) -> Iterator[Objective]:
    """The objectives over `samples` consecutive samples each; the last one is over those that are left."""
    if objective.as_given:
        yield from _whole_batches(objective, samples)
        return
    gathered: list[Batch] = []
    for batch in objective.batches:
        for piece in batch.cut(range(0, batch.first + batch.size, samples)):
            # cloned: a loader may fill one buffer again and again
            own = piece if objective.batches.kept else piece.map(Tensor.clone)
            gathered.append(to_device(own, objective.device, objective.dtype))
            if (piece.first + piece.size) % samples == 0:
                yield _on_batches(objective, gathered)
                gathered = []
    if gathered:
        yield _on_batches(objective, gathered)


def _whole_batches(objective: Objective, samples: int) -> Iterator[Objective]:
    """The objective itself as its only part; raises TaskError for parts that would cut its batches."""
    if samples < objective.batches.samples:
        raise TaskError(
            f"parts of {samples} samples would cut batches, and the loss depends on where batches end",
            fix="a loss that is a mean over samples, or the measurement without parts",
        )
    yield objective


def on_data(objective: Objective, data: Any) -> Objective:
    """The objective over another data set; raises TaskError if the loss counts none of its targets."""
    budget = room("data", objective.device)
    function, terms = objective.objective_function, isinstance(objective.loss, TermsLoss)
    if function is None:
        data = AsOneArgument(with_own_arguments(objective.model, objective.loss, data), objective.model)
    batches = survey(
        data if function is None else function.data_of(data),
        device=objective.device,
        dtype=objective.dtype,
        budget=budget,
        as_items=terms,
    )
    return _over_batches(objective, batches)


def on_samples(objective: Objective, source: Iterable[Batch]) -> Objective:
    """The objective over some of its own samples, in batches; raises TaskError where batches must stay whole."""
    if objective.as_given:
        raise TaskError(
            "a part of the samples would cut batches, and the loss depends on where batches end",
            fix="a loss that is a mean over samples, or the parts as data of their own",
        )
    budget, terms = room("data", objective.device), isinstance(objective.loss, TermsLoss)
    batches = survey(source, device=objective.device, dtype=objective.dtype, budget=budget, as_items=terms)
    return _over_batches(objective, batches)


def _over_batches(objective: Objective, batches: Batches) -> Objective:
    """The objective over other batches."""
    function, terms = objective.objective_function, isinstance(objective.loss, TermsLoss)
    batches = concatenate(batches, room("data", objective.device)) if objective.joinable else batches
    if function is None or not terms:
        count, size = count_terms(objective, batches), dealt_micro_batch(objective.micro_batch, batches.samples)
        return objective.variant(batches=batches, count=count, micro_batch=size)
    first = to_device(next(next(iter(batches)).split(TRIAL_SAMPLES)), objective.device, objective.dtype)
    loss = try_terms(function, objective.function, objective.theta, batches, first)
    return objective.variant(batches=batches, loss=loss, count=float(batches.samples))


def count_terms(batch_loss: BatchLoss, batches: Batches) -> float:
    """The number of terms of the loss over all batches; raises NothingCountedError if there are none."""
    total: float = sum(batch_loss.batch_count(batch) for batch in batches)
    if total == 0:
        raise NothingCountedError("the loss counts nothing: every target is ignored", fix="check the targets")
    return total


def _on_batches(objective: Objective, pieces: list[Batch]) -> Objective:
    samples, largest = sum(piece.size for piece in pieces), max(piece.size for piece in pieces)
    batches = Batches(pieces, sha256="", samples=samples, largest=largest, kept=True)
    size = dealt_micro_batch(objective.micro_batch, samples)
    return objective.variant(batches=batches, count=sum(map(objective.batch_count, pieces)), micro_batch=size)
