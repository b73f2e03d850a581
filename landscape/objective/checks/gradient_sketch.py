"""Gradients of large models in few numbers: sums with random signs, which keep the distance between two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape import seeds
from landscape.compute.budget import is_large

SUMS = 1 << 16  # of each tensor: distances are then right to half a percent
CHUNK = 1 << 20  # numbers that get their signs together


def compress(gradient: Tensor, parameters: int) -> Tensor:
    """The gradient in one tensor of a model with so many parameters; of large models in at most `SUMS` numbers.

    Linear in the gradient. The square of the result's norm is, on average over signs, that of the gradient's, with a
    relative standard deviation of (2 / SUMS)**0.5 (count sketch: Charikar, Chen and Farach-Colton 2002).
    """
    if not is_large(parameters) or gradient.numel() <= SUMS:
        return gradient
    numbers, sums = gradient.reshape(-1), gradient.new_zeros(SUMS)
    for first in range(0, len(numbers), CHUNK):
        part = numbers[first : first + CHUNK]
        signed = part * _signs(len(part), first // CHUNK).to(part)
        rows = signed[: len(part) // SUMS * SUMS].view(-1, SUMS)
        sums += rows.sum(dim=0)
        rest = signed[rows.numel() :]
        sums[: len(rest)] += rest
    return sums


def _signs(count: int, chunk: int) -> Tensor:
    """Random numbers -1 and 1, on the CPU, the same wherever this chunk is asked for."""
    generator = torch.Generator().manual_seed(seeds.derive(0, "checks", "sketch", chunk))
    return torch.randint(0, 2, (count,), generator=generator, dtype=torch.int8).mul_(2).sub_(1)
