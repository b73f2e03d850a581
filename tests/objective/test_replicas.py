"""A copy of the model follows the vector that holds its parameters, and leaves the user's model alone."""

from __future__ import annotations

from typing import Any

import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective


def test_the_copy_gives_the_outputs_at_whatever_the_vector_holds(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", device="cpu")
    vector = objective.theta.clone()
    replica = objective.replica(vector)
    assert replica is not None
    batch = next(iter(objective.batches))
    for step in (0.0, 0.3):
        vector.copy_(objective.theta + step)
        expected = objective.batch_output(objective.theta + step, batch)
        assert torch.allclose(replica.output(batch), expected, rtol=1e-14, atol=0)
    assert torch.equal(objective.space.flatten(dict(objective.model.double().named_parameters())), objective.theta)


def test_a_model_that_refuses_to_be_copied_has_no_replica(classification: tuple[Tensor, Tensor]) -> None:
    class Single(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Single:
            raise TypeError("there is only one")

    objective = Objective(Single(5, 3), [classification], "cross_entropy")
    assert objective.replica(objective.theta.clone()) is None
