"""Parameters of a loaded model that are parts of an objective's theta, until the model is loaded once more."""

from __future__ import annotations

from torch import Tensor, nn

MARK = "_landscape_shares_theta"  # attribute of such a parameter


def give_up(tensor: Tensor, part: Tensor) -> None:
    """Makes a parameter a part of theta, where device and dtype are the same; it keeps its values."""
    if tensor.dtype != part.dtype or tensor.device != part.device:
        return
    tensor.data = part
    setattr(tensor, MARK, True)


def take_back(model: nn.Module) -> None:
    """Gives the parameters of a model memory of their own again.

    A factory may return one model again and again: loading other weights into it must not move an earlier objective.
    """
    for parameter in model.parameters():
        if getattr(parameter, MARK, False):
            parameter.data = parameter.data.clone()
            setattr(parameter, MARK, False)
