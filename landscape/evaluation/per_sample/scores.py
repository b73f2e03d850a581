"""How each sample stands out: the size and the curvature of its own loss, without a loop over samples.

With a and g a linear layer's inputs and slopes over a sample's tokens, the gradient of its weight is sum_t g_t a_t',
whose square is ||g||^2 ||a||^2 for one token and sum_ts (g_t'g_s)(a_t'a_s) for several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape import seeds
from landscape.data.batches import Batch, leaves, map_tensors
from landscape.errors import TaskError
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.kfac import FactorSettings
from landscape.evaluation.layers.layer_io import CapturedForward, LayerCapture
from landscape.evaluation.per_sample.outcomes import gather_samples, sample_counts, sample_losses, sample_outcomes
from landscape.losses.predictions import divergences
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective

STEP = 1e-3  # of the inputs, and
VECTORS = 10  # random signs: Garg and Roy's


def mean_losses(objective: Objective, theta: Tensor) -> Tensor:
    """Each sample's mean loss `(N,)`, float64."""
    return sample_outcomes(objective, theta).means


def gradient_squares(
    objective: Objective, layers: Sequence[LinearMap], recipe: FactorSettings, theta: Tensor
) -> Tensor:
    """Columns `(N, 2)`, float64: ||grad||^2 of each sample's mean loss in the layers' weights, and its Fisher trace.

    The trace takes labels as the recipe says; NaN for a loss that is no likelihood.
    """
    capture, likely = LayerCapture(objective, layers), recipe.labels != "gold"
    count = fisher_labels.backward_passes(objective, recipe.labels, recipe.draws)

    def kernel(batch: Batch) -> Tensor:
        passed = capture.run(batch, theta)
        inputs = _inputs(passed, batch.size)
        own = _squared(passed, inputs, objective.loss_total(passed.output, batch), keep=likely)
        if not likely:
            return torch.stack([own, torch.full_like(own, torch.nan)], dim=1)
        totals = fisher_labels.scalars(objective, passed.output, batch, recipe.labels, recipe.draws, recipe.seed)
        trace = torch.zeros_like(own)
        for place, total in enumerate(totals):
            trace += _squared(passed, inputs, total, keep=place + 1 < count)
        return torch.stack([own, trace], dim=1)

    counts = sample_outcomes(objective, theta).counts
    return gather_samples(objective, kernel) / counts[:, None] ** 2


def input_curvature(objective: Objective, theta: Tensor, seed: int) -> Tensor:
    """E ||(grad_x L(x + h v) - grad_x L(x)) / h||^2 over random signs v, `(N,)`, float64, of each sample's mean loss.

    Garg and Roy (2023), equation 6, with their h and ten draws. A model of tokens is perturbed in the output of its
    first embedding. NaN if there is neither.
    """

    def kernel(batch: Batch) -> Tensor:
        still = _input_slopes(objective, theta, batch, None)
        if still is None:
            return torch.full((batch.size, 1), torch.nan, dtype=torch.float64, device=objective.device)
        total = torch.zeros(batch.size, dtype=torch.float64, device=objective.device)
        for vector in range(VECTORS):
            moves = [_signs(batch.first, one, seed, vector, place) * STEP for place, one in enumerate(still)]
            moved = _input_slopes(objective, theta, batch, moves)
            for before, after in zip(still, moved or [], strict=True):
                total += ((after.double() - before.double()) / STEP).square().reshape(batch.size, -1).sum(dim=1)
        return total[:, None] / VECTORS

    return gather_samples(objective, kernel)[:, 0] / sample_outcomes(objective, theta).counts ** 2


def edit_effects(objective: Objective, theta: Tensor) -> Tensor:
    """Columns `(N, 2)`, float64: the rise of each sample's mean loss when the weights become theta, and the divergence
    of the predictions at theta from those before, which needs no labels."""

    def kernel(batch: Batch) -> Tensor:
        with torch.no_grad():
            before, after = (objective.batch_output(point, batch) for point in (objective.theta, theta))
            was, now = (sample_losses(objective, output, batch).double() for output in (before, after))
            counts, _ = sample_counts(objective, before, batch)
        found = divergences(objective.loss, before, after, batch.targets) if isinstance(before, Tensor) else None
        apart = torch.full_like(was, torch.nan) if found is None else found
        return torch.stack([now / counts - was / counts, apart / counts], dim=1)

    return gather_samples(objective, kernel)


def _inputs(passed: CapturedForward, samples: int) -> list[Tensor | None]:
    """Each layer's inputs `(samples, T, q)`; None for one that was not called."""
    return [
        torch.cat([_by_sample(call.rows, samples, call.axis) for call in calls], dim=1) if calls else None
        for calls in passed.calls
    ]


def _squared(passed: CapturedForward, inputs: Sequence[Tensor | None], total: Tensor, *, keep: bool) -> Tensor:
    """The square of each sample's gradient of a sum over samples, in the layers' weights, `(n,)`, float64."""
    samples = passed.batch.size
    found = torch.zeros(samples, dtype=torch.float64, device=total.device)
    for given, parts in zip(inputs, passed.slopes(total, keep=keep), strict=True):
        if given is not None:
            found += _outer_norms(given, torch.cat([_by_sample(part, samples) for part in parts], dim=1))
    return found


def _outer_norms(inputs: Tensor, outputs: Tensor) -> Tensor:
    """||sum_t g_t a_t'||^2 for inputs `(n, T, q)` and outputs `(n, T, p)`, by the cheaper of two ways."""
    tokens, q, p = inputs.shape[1], inputs.shape[2], outputs.shape[2]
    if tokens == 1:
        squares: Tensor = inputs.double().square().sum(dim=(1, 2)) * outputs.double().square().sum(dim=(1, 2))
        return squares
    if tokens * (p + q) < p * q:
        return ((inputs @ inputs.mT).double() * (outputs @ outputs.mT).double()).sum(dim=(1, 2))
    return (outputs.mT @ inputs).double().square().sum(dim=(1, 2))


def _by_sample(rows: Tensor, samples: int, axis: int | None = 0) -> Tensor:
    """Rows `(samples, T, k)`, also of a model that folds tokens into the first axis."""
    if len(rows) % samples or axis is None:
        raise TaskError(
            f"a layer has {len(rows)} rows for {samples} samples: what belongs to which sample is not known",
            fix="--no-scores, or --layers without it",
        )
    return rows.reshape(samples, -1, rows.shape[-1])


def _signs(first: int, like: Tensor, seed: int, vector: int, place: int) -> Tensor:
    numbers = seeds.uniform(first, tuple(like.shape), like, seed, "inputs", vector, place)
    return torch.where(numbers < 0.5, -1.0, 1.0).to(like)


def _input_slopes(objective: Objective, theta: Tensor, batch: Batch, moves: list[Tensor] | None) -> list[Tensor] | None:
    """The slopes of the summed loss in the inputs, moved if asked; None if there is nothing real to move."""
    points: list[Tensor] = []

    def moved(tensor: Tensor) -> Tensor:
        shifted = tensor if moves is None else tensor + moves[len(points)]
        points.append(shifted.detach().requires_grad_())
        return points[-1]

    tokens = _tokens(objective, batch)
    real = (
        (lambda tensor: tensor) if tokens else (lambda tensor: moved(tensor) if tensor.is_floating_point() else tensor)
    )
    with torch.enable_grad(), _embedding_moved(objective, tokens, moved):
        inputs = map_tensors(real, batch.inputs)
        total = objective.batch_total(theta.detach(), Batch(inputs, batch.targets, batch.first))
        if not points:
            return None
        if not total.requires_grad:  # the loss does not follow its inputs
            return [torch.zeros_like(point) for point in points]
        found = torch.autograd.grad(total, points, allow_unused=True)
    return [torch.zeros_like(point) if one is None else one for one, point in zip(found, points, strict=True)]


def _tokens(objective: Objective, batch: Batch) -> list[Tensor]:
    """The integers of a batch that a model with embeddings may look up."""
    if not any(isinstance(module, nn.Embedding) for module in objective.model.modules()):
        return []
    return [leaf for leaf in leaves(batch.inputs) if not leaf.is_floating_point() and leaf.dtype != torch.bool]


@contextmanager
def _embedding_moved(objective: Objective, tokens: list[Tensor], moved: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Applies `moved` to what the first embedding that looks up one of these tensors gives."""
    done: list[bool] = []

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:  # noqa: ARG001
        axis = None if done else next((a for a in map(partial(_along, args[0]), tokens) if a is not None), None)
        if axis is None:
            return output
        done.append(True)
        return moved(output.transpose(0, axis)).transpose(0, axis)

    tables = [module for module in objective.model.modules() if isinstance(module, nn.Embedding)] if tokens else []
    handles = [table.register_forward_hook(hook) for table in tables]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _along(given: Tensor, token: Tensor) -> int | None:
    """The axis of what is looked up along which the samples lie; None if these are not the tokens."""
    if given.shape == token.shape and bool((given == token).all()):
        return 0
    turned = token.ndim == 2 and given.shape == token.T.shape and bool((given == token.T).all())
    return 1 if turned else None
