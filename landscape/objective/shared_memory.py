"""Tensors of a loaded model that an objective measures with, until the model is loaded once more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MARK = "_landscape_shares"  # attribute of such a tensor


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
