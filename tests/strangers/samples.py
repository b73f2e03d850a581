"""Losses and gradients of a stranger's single samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from strangers.answers import VALUE_STEP, Answer, first_tensor, flat, narrow


def sample_gradients(answer: Answer, *, decayed: bool = True) -> Tensor:
    """The gradients of single samples `(N, P)`, scaled so that their mean is the gradient of L.

    Without the weight decay, which belongs to no sample, unless `decayed`.
    """
    if answer.stranger.derivatives != "values":
        return torch.stack(
            [
                flat(torch.autograd.grad(loss, answer.parameters, materialize_grads=True))
                for loss in _losses(answer, decayed)
            ]
        )
    columns = []
    for move in VALUE_STEP * torch.eye(len(answer.theta), dtype=answer.theta.dtype):
        ends = []
        for end in (answer.theta + move, answer.theta - move):
            answer.place(end)
            ends.append(torch.stack([loss.detach() for loss in _losses(answer, decayed)]))
        columns.append((ends[0] - ends[1]) / (2 * VALUE_STEP))
    answer.place(answer.theta)
    return torch.stack(columns, dim=1)


def first_share(answer: Answer) -> float:
    """How many terms of the loss the first sample has, relative to the mean of all samples."""
    if answer.stranger.mean is not None:
        return 1.0
    counts = [answer.terms(answer.output(one[0]), one[1])[1] for one in _singles(answer)]
    return counts[0] * len(counts) / sum(counts)


def _losses(answer: Answer, decayed: bool) -> Iterator[Tensor]:
    """The loss of each sample with its graph, scaled so that their mean is that of all."""
    mean = answer.stranger.mean if decayed else answer.stranger.undecayed or answer.stranger.mean
    singles = list(_singles(answer))
    if mean is not None:
        yield from (mean(answer.model, [one]) for one in singles)
        return
    count = sum(answer.terms(answer.output(inputs), targets)[1] for inputs, targets in answer.batches)
    for inputs, targets in singles:
        yield answer.terms(answer.output(inputs), targets)[0] * len(singles) / count


def _singles(answer: Answer) -> Iterator[Any]:
    """Batches of one sample each; the batches themselves where these are units."""
    for batch in answer.batches:
        if answer.stranger.units and answer.stranger.mean is None:
            yield batch
            continue
        size = len(first_tensor(batch if answer.stranger.mean is not None else batch[0]))
        yield from (narrow(batch, place) for place in range(size))
