"""Tensors of a loaded model that an objective measures with, until the model is loaded once more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MARK = "_landscape_shares"  # attribute of such a tensor


def place(tensor: Tensor, part: Tensor | None, theta: Tensor, *, share: bool) -> Tensor:
    """The part of theta that now holds a tensor's values, or a copy of a tensor that is not in theta.

    With `share` the tensor itself takes this memory, or stays where it is.
    """
    if part is None:
        dtype = theta.dtype if tensor.is_floating_point() else tensor.dtype
        return lend(tensor, theta.device, dtype) if share else tensor.detach().to(theta.device, dtype, copy=True)
    part.copy_(tensor.detach())
    if share:
        give_up(tensor, part)
    return part


def give_up(tensor: Tensor, part: Tensor) -> None:
    """Makes a parameter a part of theta, where device and dtype are the same; it keeps its values."""
    if tensor.dtype != part.dtype or tensor.device != part.device:
        return
    tensor.data = part
    setattr(tensor, MARK, True)


def lend(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A fixed tensor of a model on the device: the model's own memory where device and dtype are the same."""
    placed = tensor.detach().to(device, dtype)
    if placed.data_ptr() == tensor.data_ptr():
        setattr(tensor, MARK, True)
    return placed


def take_back(model: nn.Module) -> None:
    """Gives the parameters and buffers of a model memory of their own again.

    A factory may return one model again and again: loading other weights into it must not move an earlier objective.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if getattr(tensor, MARK, False):
            tensor.data = tensor.data.clone()
            setattr(tensor, MARK, False)
