"""J v, the derivative of the outputs along a direction in the parameters, by two reverse passes.

Forward-mode rules are missing for some operations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.objective import Objective
from landscape.objective.user_errors import reraise_user_errors
from landscape.operators.pullback import pull_back


def push_forward(objective: Objective, batch: Batch, vector: Tensor) -> tuple[Tensor, Tensor]:
    """The output of a batch and its derivative along `vector (P,)`, of the same shape.

    Raises TaskError for a model whose loss takes no single tensor.
    """
    theta = objective.theta.detach().requires_grad_()
    with torch.enable_grad():
        output = objective.batch_output(theta, batch)
        if not isinstance(output, Tensor):
            raise TaskError("the outputs are no single tensor", fix="a model that returns its logits")
        dual = torch.zeros_like(output).requires_grad_()
        (pulled,) = reraise_user_errors(batch, lambda: torch.autograd.grad(output, theta, dual, create_graph=True))
    (tangents,) = pull_back([pulled], [dual], [vector[None]])
    return output.detach(), tangents[0]
