"""What flows back into the outputs of layers for vectors in a model's outputs, and whether closed forms are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch
from landscape.data.trees import leaves
from landscape.evaluation.layers.layer_io import CapturedForward, LayerCall
from landscape.evaluation.per_sample.own_gradients import OwnGradients
from landscape.objective import Objective
from landscape.operators.pullback import NoBatchingError, pull_back

T = TypeVar("T")
CHECKED_SAMPLES = 4  # whose gradients are computed alone too
TOLERANCE = 1e-3  # relative, of closed forms against backward passes in float32
NEGLIGIBLE = 1e-6  # of a sample's square over all parameters: rounding may be all of what is smaller


def flows(
    forward: CapturedForward[OwnGradients], outputs: Sequence[Tensor], vectors: Sequence[Tensor]
) -> Iterator[tuple[OwnGradients, tuple[LayerCall, ...], list[Tensor]]]:
    """Each layer with its calls, and J'v in the output of each call for K vectors."""
    calls = [call for each in forward.calls for call in each]
    inputs, count = [call.output for call in calls], len(vectors[0])
    if not inputs:
        return
    try:
        found = pull_back(outputs, inputs, vectors, chunk_size=count, retain_graph=True, allow_unused=True)
    except NoBatchingError:
        found = pull_back(outputs, inputs, vectors, chunk_size=1, retain_graph=True, allow_unused=True)
    rows = iter(found)
    for layer, own in zip(forward.layers, forward.calls, strict=True):
        if own:
            yield layer, own, [next(rows) for _ in own]


def evaluate(calls: Sequence[LayerCall], samples: int, work: Callable[[], T]) -> T | None:
    """What `work` finds of a layer; None where rows belong to no sample, or the module cannot be run by itself."""
    if any(call.axis is None or call.input.shape[call.axis] % samples for call in calls):
        return None
    try:
        return work()
    except Exception as error:  # a module of the user's may raise anything under vmap
        if is_out_of_memory(error):
            raise
        return None


def wrong_names(
    objective: Objective,
    batch: Batch,
    roots: Sequence[Tensor],
    squares: Mapping[str, Tensor],
    totals: Mapping[str, Tensor],
) -> set[str]:
    """The parameters of which a backward pass gives another gradient than the closed form, of the first root.

    The first samples' squares are compared, and the sum of the gradients of all.
    """
    first = [root[0] for root in roots]
    nothing = first[0].new_zeros(batch.size, dtype=torch.float64)
    own = {name: squares[name][0] if name in squares else nothing for name in objective.space.names}
    whole = torch.stack([*own.values()]).sum(dim=0)
    wrong = set()
    for index in range(CHECKED_SAMPLES if batch.first == 0 else 0):
        if index >= batch.size:
            break
        one = batch.take([index])
        for name, gradient in _gradients(objective, one, [root[index : index + 1] for root in first]).items():
            square = float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) ** 2
            found = float(own[name][index])
            allowed = TOLERANCE * max(square, found) + NEGLIGIBLE * float(whole[index])
            if not abs(square - found) <= allowed:
                wrong.add(name)
    for name, gradient in _gradients(objective, batch, first).items():
        found_total = totals.get(name)
        difference = gradient if found_total is None else gradient - found_total
        scale = float(own[name].sum() + NEGLIGIBLE * whole.sum()) ** 0.5
        if not float(torch.linalg.vector_norm(difference, dtype=torch.float64)) <= TOLERANCE * scale:
            wrong.add(name)
    return wrong


def _gradients(objective: Objective, batch: Batch, vectors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The gradient in each parameter of the outputs times the vectors, summed over the samples."""
    points = objective.space.leaves(objective.theta)
    with torch.enable_grad():
        output = objective.batch_output(points, batch)
        outputs = [leaf for leaf in leaves(output) if leaf.requires_grad]
        total = torch.stack([(leaf * vector).sum() for leaf, vector in zip(outputs, vectors, strict=True)]).sum()
        parts = torch.autograd.grad(total, [*points.values()], allow_unused=True, materialize_grads=True)
    return dict(zip(points, parts, strict=True))
