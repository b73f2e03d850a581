"""The curvature of each sample's loss in its input, by finite differences along random signs (Garg and Roy 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape import seeds
from landscape.data.batches import Batch
from landscape.data.trees import leaves, map_tensors
from landscape.evaluation.per_sample.outcomes import gather_samples, sample_outcomes
from landscape.objective import Objective

DIFFERENCE_STEP = 1e-3  # h of the finite difference in the inputs, as in Garg and Roy (2023)
RANDOM_VECTORS = 10  # Rademacher vectors that are averaged over, as there


def input_curvature(objective: Objective, theta: Tensor, seed: int) -> Tensor:
    """E ||(grad_x L(x + h v) - grad_x L(x)) / h||^2 over random signs v, `(N,)`, float64, of each sample's mean loss.

    Garg and Roy (2023), equation 6, with their h and ten draws. A model of tokens is perturbed in the output of its
    first embedding. NaN for a model without real inputs and without an embedding.
    """

    def kernel(batch: Batch) -> Tensor:
        """The squared norm of the finite difference for each sample of one batch, `(n, 1)`."""
        before = _input_gradients(objective, theta, batch, None)
        if before is None:
            return torch.full((batch.size, 1), torch.nan, dtype=torch.float64, device=objective.device)
        total = torch.zeros(batch.size, dtype=torch.float64, device=objective.device)
        for vector in range(RANDOM_VECTORS):
            moves = [
                _signs(batch.first, gradient, seed, vector, number) * DIFFERENCE_STEP
                for number, gradient in enumerate(before)
            ]
            after = _input_gradients(objective, theta, batch, moves)
            for old, new in zip(before, after or [], strict=True):
                difference = (new.double() - old.double()) / DIFFERENCE_STEP
                total += difference.square().reshape(batch.size, -1).sum(dim=1)
        return total[:, None] / RANDOM_VECTORS

    return gather_samples(objective, kernel)[:, 0] / sample_outcomes(objective, theta).counts ** 2


def _signs(first: int, like: Tensor, seed: int, vector: int, tensor: int) -> Tensor:
    """Random signs of the shape of `like`, which depend on each sample's place in the data, not on batches."""
    numbers = seeds.uniform(first, tuple(like.shape), like, seed, "inputs", vector, tensor)
    return torch.where(numbers < 0.5, -1.0, 1.0).to(like)


def _input_gradients(
    objective: Objective, theta: Tensor, batch: Batch, moves: list[Tensor] | None
) -> list[Tensor] | None:
    """The gradients of the summed loss in the inputs plus `moves`; None if no input is real."""
    points: list[Tensor] = []

    def move(tensor: Tensor) -> Tensor:
        """The tensor, displaced if displacements are given, as a point to differentiate at."""
        shifted = tensor if moves is None else tensor + moves[len(points)]
        points.append(shifted.detach().requires_grad_())
        return points[-1]

    def move_real(tensor: Tensor) -> Tensor:
        """The displaced input; token ids stay, for their embeddings are displaced."""
        return move(tensor) if not tokens and tensor.is_floating_point() else tensor

    tokens = _tokens(objective, batch)
    with torch.enable_grad(), _change_embedding(objective, tokens, move):
        inputs = map_tensors(move_real, batch.inputs)
        total = objective.batch_total(theta.detach(), Batch(inputs, batch.targets, batch.first))
        if not points:
            return None
        if not total.requires_grad:  # the loss does not depend on its inputs
            return [torch.zeros_like(point) for point in points]
        gradients = torch.autograd.grad(total, points, allow_unused=True)
    pairs = zip(gradients, points, strict=True)
    return [torch.zeros_like(point) if gradient is None else gradient for gradient, point in pairs]


def _tokens(objective: Objective, batch: Batch) -> list[Tensor]:
    """The integers of a batch that a model with embeddings may look up."""
    if not any(isinstance(module, nn.Embedding) for module in objective.model.modules()):
        return []
    return [leaf for leaf in leaves(batch.inputs) if not leaf.is_floating_point() and leaf.dtype != torch.bool]


@contextmanager
def _change_embedding(objective: Objective, tokens: list[Tensor], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Applies `change` to the output of the first embedding that looks up one of these tensors, samples first."""
    done: list[bool] = []

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:  # noqa: ARG001
        """The changed output of the first embedding of these tokens; other outputs as they are."""
        axis = None if done else next((a for a in map(partial(_sample_axis, args[0]), tokens) if a is not None), None)
        if axis is None:
            return output
        done.append(True)
        return change(output.transpose(0, axis)).transpose(0, axis)

    tables = [module for module in objective.model.modules() if isinstance(module, nn.Embedding)] if tokens else []
    handles = [table.register_forward_hook(hook) for table in tables]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sample_axis(indices: Tensor, tokens: Tensor) -> int | None:
    """The axis of an embedding's indices along which the samples lie; None if they are not these tokens."""
    if indices.shape == tokens.shape and bool((indices == tokens).all()):
        return 0
    transposed = tokens.ndim == 2 and indices.shape == tokens.T.shape and bool((indices == tokens.T).all())
    return 1 if transposed else None
