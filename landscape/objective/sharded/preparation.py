"""Checks before a measurement with weights in parts; every rank makes them of the same samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from landscape.choices import Outputs
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings
from landscape.data.batches import to_device
from landscape.data.concatenation import concatenate
from landscape.data.survey import Batches
from landscape.errors import UsageError, listing
from landscape.network.gathered_units import UNSHARDED
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import ModelTrial, Trial, run_checks, sample_count
from landscape.objective.checks.independence import INDEPENDENCE
from landscape.objective.checks.loss_purity import LOSS_PURITY
from landscape.objective.checks.purity import pass_and_look
from landscape.objective.micro_batch import activation_bytes, plan_micro_batch
from landscape.objective.model_function import ModelFunction
from landscape.objective.objective_function import TRIAL_SAMPLES, ObjectiveFunction
from landscape.objective.preparation import Prepared, Weights, conclude, try_loss
from landscape.objective.sharded.function import ShardedFunction


def check_parts(
    weights: Weights,
    function: ModelFunction,
    loss: Any,
    batches: Batches,
    *,
    budget: int,
    micro_batch: int | None,
    settings: ProductSettings,
    outputs: Outputs | None,
    objective: ObjectiveFunction | None,
) -> Prepared:
    """As `check_and_plan`, with the checks that need no rank to hold all weights.

    Raises UsageError for what cannot be measured so, and TaskError as `check_and_plan` does.
    """
    assert isinstance(function, ShardedFunction)
    device = weights.theta.device
    first = to_device(next(next(iter(batches)).split(TRIAL_SAMPLES)), device, weights.theta.dtype)
    joined = concatenate(batches, budget)
    with full_precision(settings.tf32):
        few = next(first.split(sample_count(function.space.size)))
        _require_same_again(ModelTrial(function, weights.theta, few))
        chosen, loss_note = try_loss(function, weights.theta, loss, first, batches, outputs, objective)
        each = activation_bytes(BatchLoss(function, chosen).batch_total, weights.theta, first.map(Tensor.clone))
        size = micro_batch or plan_micro_batch(joined, each, device)
        trial = Trial(function, weights.theta, few, chosen, batches, joined, micro_batch=size, activation_bytes=each)
        trial, findings = run_checks((LOSS_PURITY, INDEPENDENCE), trial)
    return conclude(trial, findings, micro_batch, (loss_note, _note(function)))


def _require_same_again(trial: ModelTrial) -> None:
    """Raises UsageError for a model that a backward pass cannot run again, TaskError for one that changes its weights.

    Units run again in each backward pass.
    """
    function = trial.function
    assert isinstance(function, ShardedFunction)
    function.passage.watching = True
    try:
        written, drawn = pass_and_look(function, trial.theta, trial)
    finally:
        function.passage.watching = False
    if written or drawn or function.mode == "train":
        reasons = {
            f"it changes the buffer {listing(written)}": bool(written),
            f"it draws random numbers from {listing(drawn)}": bool(drawn),
            "it is in train mode": function.mode == "train",
        }
        raise UsageError(
            "--shard on is impossible: the model would not give the same a second time",
            why="; ".join(reason for reason, is_one in reasons.items() if is_one),
            fix=UNSHARDED,
        )


def _note(function: ShardedFunction) -> str:
    """A note on what lies where."""
    shards = function.passage.measured
    largest = max((sum(_sizes(function, number)) for number in range(len(function.units))), default=0)
    where = f"{shards.ranks.size} ranks" if shards.ranks.size > 1 else "one rank"
    return (
        f"sharded: weights, vectors and basis lie in parts on {where}; {len(function.units)} units of at most "
        f"{largest:,} parameters are gathered while they run"
    )


def _sizes(function: ShardedFunction, number: int) -> list[int]:
    """The parameters of a unit's tensors."""
    unit, passage = function.units[number], function.passage
    measured = [passage.measured.sizes[index] for index in unit.measured.values()]
    return measured + [passage.fixed.sizes[index] for index in unit.fixed.values()]
