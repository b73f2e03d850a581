"""Checks before a measurement with weights in parts; every rank makes them of the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.choices import Outputs
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings
from landscape.data.batches import Batch, to_device
from landscape.data.concatenation import concatenate
from landscape.data.survey import Batches
from landscape.data.trees import leaves
from landscape.errors import LandscapeError, UsageError, listing
from landscape.network.gathered_units import UNSHARDED
from landscape.network.state import Attribute, attribute_changes, plain_state, reset_attributes
from landscape.network.wrappers import same_values
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.checks.check import ModelTrial, Trial, run_checks, sample_count
from landscape.objective.checks.independence import INDEPENDENCE
from landscape.objective.checks.loss_purity import LOSS_PURITY
from landscape.objective.checks.purity import depends_on_memory, is_close, pass_and_look
from landscape.objective.micro_batch import measure_activations, plan_micro_batch
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
    device = function.device_of(weights.theta)
    first = to_device(next(next(iter(batches)).split(TRIAL_SAMPLES)), device, weights.theta.dtype)
    joined = concatenate(batches, budget)
    with full_precision(settings.tf32):
        few = next(first.split(sample_count(function.space.size)))
        _require_same_again(ModelTrial(function, weights.theta, few))
        chosen, loss_note = try_loss(function, weights.theta, loss, first, batches, outputs, objective)
        each = measure_activations(BatchLoss(function, chosen).batch_total, weights.theta, first.map(Tensor.clone))
        size = micro_batch or plan_micro_batch(joined, each, function.passage.anchor, function.space.size)
        trial = Trial(function, weights.theta, few, chosen, batches, joined, micro_batch=size, activations=each)
        trial, findings = run_checks((LOSS_PURITY, INDEPENDENCE), trial)
    return conclude(trial, findings, micro_batch, (loss_note, _note(function)))


def _require_same_again(trial: ModelTrial) -> None:
    """Raises UsageError for a model that a backward pass cannot run again, TaskError for one that changes its weights.

    Units run again in each backward pass.
    """
    function = trial.function
    assert isinstance(function, ShardedFunction)
    fixed = {name: tensor.clone() for name, tensor in function.fixed.items()}
    attributes = plain_state(function.module)
    first, reassigned, drawn = _pass_and_look(trial)
    written = [*reassigned, *(name for name, was in fixed.items() if not same_values(was, function.fixed[name]))]
    kept = attribute_changes(function.module, attributes)
    if kept and not written:
        _require_output_without_memory(trial, first, kept, attributes)
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


def _pass_and_look(trial: ModelTrial) -> tuple[list[Tensor], list[str], list[str]]:
    """The outputs of a pass that watches the weights; buffers that are other objects after it, and what was drawn."""
    function, outputs = trial.function, list[Tensor]()
    assert isinstance(function, ShardedFunction)

    def pass_through(batch: Batch) -> Any:
        """The model's output, which is kept."""
        output = ModelFunction.call(function, batch)
        outputs.extend(leaf.detach().clone() for leaf in leaves(output) if isinstance(leaf, Tensor))
        return output

    function.passage.watching = True
    try:
        reassigned, drawn = pass_and_look(function, trial.theta, trial, call=pass_through)
    finally:
        function.passage.watching = False
    return outputs, reassigned, drawn


def _require_output_without_memory(
    trial: ModelTrial, first: Sequence[Tensor], kept: Sequence[str], attributes: Mapping[str, Attribute]
) -> None:
    """Raises TaskError if the output is another after a pass of other samples: it depends on what the module kept.

    No copy of the module could hold the weights: the module itself gets its first attributes again, and the output to
    compare with is the very first one.
    """
    function = trial.function
    with torch.enable_grad():
        theta = trial.theta.detach()
        try:
            reset_attributes(function.module, kept, attributes)
            function.output(theta, next(trial.fresh_batch().split(1)))
            again = [leaf for leaf in leaves(function.output(theta, trial.fresh_batch())) if isinstance(leaf, Tensor)]
        except LandscapeError:
            raise
        except Exception:  # what it kept does not fit other samples
            again = []
        reset_attributes(function.module, kept, attributes)
    same = len(again) == len(first) and all(is_close(a, b.detach()) for a, b in zip(first, again, strict=True))
    if not same:
        raise depends_on_memory(kept)


def _note(function: ShardedFunction) -> str:
    """A note on what lies where."""
    shards = function.passage.measured
    largest = max((sum(_sizes(function, number)) for number in range(len(function.units))), default=0)
    where = f"{shards.ranks.size} ranks" if shards.ranks.size > 1 else "one rank"
    if function.passage.theta.device != function.passage.anchor.device:
        where += ", in the memory of the host"
    return (
        f"sharded: weights, vectors and basis lie in parts on {where}; {len(function.units)} units of at most "
        f"{largest:,} parameters are gathered while they run"
    )


def _sizes(function: ShardedFunction, number: int) -> list[int]:
    """The parameters of a unit's tensors."""
    unit, passage = function.units[number], function.passage
    measured = [passage.measured.sizes[index] for index in unit.measured.values()]
    return measured + [passage.fixed.sizes[index] for index in unit.fixed.values()]
