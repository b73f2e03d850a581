"""J'v of single samples in any parameters, for vectors v in their outputs: for parameters without a closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.data.trees import leaves, map_tensors
from landscape.objective import Objective

CHUNK_BYTES = 64 << 20  # of gradients of samples in memory at once


def vector_gradients(
    objective: Objective, batch: Batch, vectors: Sequence[Tensor], names: frozenset[str]
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """By named parameter the gradients `(K, m, *shape)` of m samples after others, each with the samples' places.

    `vectors` holds `(K, n, *shape)` for each output of a batch of n samples. All samples of a piece go through the
    model together (`torch.func.vmap`) where the model allows it, else one by one.
    """
    size = sum(block.size for block in objective.space.blocks if block.name in names) * objective.theta.itemsize
    step = max(1, CHUNK_BYTES // max(size * len(vectors[0]), 1))
    first = 0
    for piece in batch.split(step):
        place = slice(first, first + piece.size)
        of_piece = [vector[:, place] for vector in vectors]
        found = _together(objective, piece, of_piece, names) if piece.size > 1 else None
        yield place, found if found is not None else _one_by_one(objective, piece, of_piece, names)
        first = place.stop


def _together(
    objective: Objective, batch: Batch, vectors: Sequence[Tensor], names: frozenset[str]
) -> dict[str, Tensor] | None:
    """The gradients of all samples in one pass; None if the model does not allow it."""
    named = objective.space.unflatten(objective.theta.detach())
    fixed = {name: tensor for name, tensor in named.items() if name not in names}
    free = {name: tensor for name, tensor in named.items() if name in names}

    def of_sample(inputs: Any, targets: Any, *rows: Tensor) -> dict[str, Tensor]:
        """By parameter, J'v of one sample for its K vectors, `(K, *shape)`."""
        one = Batch(map_tensors(lambda t: t[None], inputs), map_tensors(lambda t: t[None], targets), batch.first)

        def run(weights: Mapping[str, Tensor]) -> list[Tensor]:
            """The outputs of the sample."""
            return [leaf[0] for leaf in leaves(objective.batch_output({**fixed, **weights}, one))]

        pull: Any = torch.func.vjp(run, free)[1]
        found: dict[str, Tensor] = torch.func.vmap(lambda *each: pull(list(each))[0])(*rows)
        return found

    rows = [vector.transpose(0, 1) for vector in vectors]
    found = cast("dict[str, Tensor] | None", try_vmap(cast("Any", of_sample), batch.inputs, batch.targets, *rows))
    return None if found is None else {name: each.transpose(0, 1) for name, each in found.items()}


def _one_by_one(
    objective: Objective, batch: Batch, vectors: Sequence[Tensor], names: frozenset[str]
) -> dict[str, Tensor]:
    """The gradients of one sample after another, and of one vector after another."""
    samples = []
    for index, one in enumerate(batch.split(1)):
        points = objective.space.leaves(objective.theta)
        wanted = [points[name] for name in points if name in names]
        with torch.enable_grad():
            found = leaves(objective.batch_output(points, one))
            pairs = [
                (leaf, vector[:, index]) for leaf, vector in zip(found, vectors, strict=True) if leaf.requires_grad
            ]
            rows = [
                torch.autograd.grad(
                    [leaf for leaf, _ in pairs],
                    wanted,
                    [vector[draw][None] for _, vector in pairs],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                for draw in range(len(vectors[0]))
            ]
        samples.append([torch.stack(each) for each in zip(*rows, strict=True)])
    ordered = [name for name in objective.space.names if name in names]
    return {name: torch.stack(each, dim=1) for name, each in zip(ordered, zip(*samples, strict=True), strict=True)}
