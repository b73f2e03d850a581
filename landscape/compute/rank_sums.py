"""Sums of tensors over ranks by messages between two at a time, so that all ranks get the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Layout(NamedTuple):
    """The shape, strides and dtype of a tensor: later steps compute other last bits from another order in memory."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """The layout of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def copy_of(self, part: Tensor) -> Tensor:
        """The tensor itself if it has this layout, else a copy that has."""
        return part if Layout.of(part) == self else self.empty(part.device).copy_(part)

    def empty(self, device: torch.device) -> Tensor:
        """A tensor of this layout, without values."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=device)


def as_message(part: Tensor) -> Tensor:
    """The tensor, or a copy of it, whose numbers lie in memory without gaps, in any order of its axes."""
    return part.detach() if _in_order(part).is_contiguous() else part.detach().contiguous()


def sum_over_ranks(
    parts: Sequence[Tensor] | None,
    having: Sequence[bool],
    rank: int,
    layouts: Sequence[Layout],
    device: torch.device,
) -> tuple[Tensor, ...]:
    """The sums over the ranks that have something; `having` says of each rank whether it has, `layouts` what.

    Two ranks exchange what they have, then two pairs, and so on: with a power of two of ranks an aligned tree, whose
    every node has the same bits on all ranks below it. Ranks beyond the largest power of two give theirs to the first
    ones before, and get the result after.
    """
    size, pairs = len(having), 1
    while 2 * pairs <= size:
        pairs *= 2
    mine = None if parts is None else list(parts)
    owned = list(having)

    def receive(other: int) -> list[Tensor] | None:
        return _receive(layouts, device, other) if owned[other] else None

    if rank >= pairs:
        _send(mine, rank - pairs)
    for other in range(pairs, size):
        if rank == other - pairs:
            mine = _add(mine, receive(other))
        owned[other - pairs] |= owned[other]
    distance = 1
    while distance < pairs:
        if rank < pairs:
            partner = rank ^ distance
            mine = _add(mine, _exchange(mine, layouts if owned[partner] else (), device, partner))
        owned[:pairs] = [owned[one] or owned[one ^ distance] for one in range(pairs)]
        distance *= 2
    for other in range(pairs, size):
        if rank == other - pairs:
            _send(mine, other)
        if rank == other:
            mine = _receive(layouts, device, other - pairs)
    assert mine is not None  # some rank has something
    return tuple(mine)


def _in_order(part: Tensor) -> Tensor:
    """A view with the axes in the order of memory."""
    return part.permute(sorted(range(part.ndim), key=lambda axis: -part.stride()[axis]))


def _add(one: list[Tensor] | None, other: list[Tensor] | None) -> list[Tensor] | None:
    if one is None or other is None:
        return other if one is None else one
    return [total.add_(part) for total, part in zip(one, other, strict=True)]


def _exchange(
    mine: list[Tensor] | None, layouts: Sequence[Layout], device: torch.device, partner: int
) -> list[Tensor] | None:
    """What the partner has, if it has something, while it gets what this rank has."""
    received = [layout.empty(device) for layout in layouts]
    sends = [dist.P2POp(dist.isend, _in_order(part), partner, tag=n) for n, part in enumerate(mine or [])]
    receives = [dist.P2POp(dist.irecv, _in_order(part), partner, tag=n) for n, part in enumerate(received)]
    if sends or receives:
        for request in dist.batch_isend_irecv([*sends, *receives]):
            request.wait()
    return received or None


def _send(parts: list[Tensor] | None, rank: int) -> None:
    for part in parts or []:
        dist.send(_in_order(part), rank)


def _receive(layouts: Sequence[Layout], device: torch.device, rank: int) -> list[Tensor]:
    received = [layout.empty(device) for layout in layouts]
    for part in received:
        dist.recv(_in_order(part), rank)
    return received
