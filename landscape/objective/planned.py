"""An objective for a plan: nothing of it is checked, and one gradient is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.compute.precision import full_precision
from landscape.compute.strategy import ProductSettings
from landscape.data.concatenation import concatenate
from landscape.data.survey import Batches
from landscape.errors import OutOfMemory
from landscape.objective.batch_loss import BatchLoss
from landscape.objective.block_choice import recomputation_note, with_blocks, with_blocks_where_tight
from landscape.objective.first_gradient import first_gradient
from landscape.objective.model_function import ModelFunction
from landscape.objective.objective import Objective
from landscape.objective.preparation import Prepared, Weights, check_and_plan, padding_note
from landscape.objective.views import count_terms


def plan_without_checks(
    weights: Weights, function: ModelFunction, loss: Any, batches: Batches, *, budget: int, **options: Any
) -> Prepared:
    """As `check_and_plan`, from one timed gradient; the checks are made where that gradient fails without them.

    Raises TaskError for a model or a loss that cannot be measured on these batches.
    """
    joined = concatenate(batches, budget)
    asked = {name: options[name] for name in ("micro_batch", "outputs", "objective")}
    settings: ProductSettings = options["settings"]
    function = with_blocks(settings, function)

    def adapt(function: ModelFunction, each: int) -> ModelFunction:
        """The function, whose blocks run again where one sample is too large."""
        smaller = with_blocks_where_tight(settings, function, each, weights.theta.device)
        return smaller if smaller.blocks != function.blocks else function

    try:
        with full_precision(settings.tf32):
            first = first_gradient(function, weights.theta, loss, joined, adapt=adapt, **asked)
    except Exception as error:  # the user's model may raise anything; the checks say in words what is wrong
        if is_out_of_memory(error) or isinstance(error, OutOfMemory):
            raise
        return check_and_plan(weights, function, loss, batches, budget=budget, **options)
    return Prepared(
        function=first.function,
        theta=weights.theta,
        loss=first.loss,
        batches=joined,
        count=count_terms(BatchLoss(first.function, first.loss), joined),
        joinable=True,
        as_given=False,
        activation_bytes=first.activation_bytes,
        micro_batch=first.micro_batch,
        checks=(),
        notes=(
            first.note,
            batches.note,
            recomputation_note(first.function, settings),
            padding_note(first.loss, function.module, batches),
        ),
        sample_cost=first.cost,
    )


class PlannedObjective(Objective):
    """An objective that costs at most two gradients of one micro-batch, for `Analysis.plan` alone.

    It knows the time of a gradient. The checks of the model, the loss and the data are not made, unless the gradient
    fails without what they find out: its numbers must not be reported.
    """

    examine: ClassVar[Callable[..., Prepared] | None] = staticmethod(plan_without_checks)
