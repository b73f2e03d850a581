"""Copies of an objective's model whose parameters follow a vector, for passes without a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch
from landscape.data.trees import map_tensors
from landscape.network.attention import without_fast_path
from landscape.network.replica import replica
from landscape.objective.user_errors import reraise_user_errors

if TYPE_CHECKING:
    from landscape.objective.objective import Objective


@dataclass(frozen=True)
class Replica:
    """A copy of an objective's model that holds the parameters that a vector `(P,)` holds when the copy is called."""

    model: nn.Module
    objective: Objective

    def output(self, batch: Batch) -> Any:
        """The part of the copy's output on one batch that the loss takes, without a graph."""
        objective = self.objective

        def output() -> Any:
            """A forward pass of the copy."""
            with without_fast_path():
                return objective.scored_output(objective.function.pass_through(self.model, batch))

        if not objective.function.needs_gradients:
            return reraise_user_errors(batch, output)
        with torch.enable_grad():
            return map_tensors(Tensor.detach, reraise_user_errors(batch, output))


def replicate(objective: Objective, vector: Tensor) -> Replica | None:
    """The model with its parameters as views of `vector` `(P,)`; None if a copy would not do, or cannot be made."""
    function = objective.function
    if not function.is_plain:
        return None
    copied = replica(function.module, function.space, vector, function.fixed)
    if copied is None:
        return None
    if function.needs_gradients:
        copied.requires_grad_()
    return Replica(copied, objective)
