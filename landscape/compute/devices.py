"""The device that a name stands for."""

from __future__ import annotations

import torch

from landscape.errors import UsageError


def as_device(name: str) -> torch.device:
    """The device of that name, with its index; "auto" is CUDA where there is one.

    Raises UsageError for a device that cannot compute here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tensor = torch.zeros(1, device=name)
        tensor.item()  # fails on "meta"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} is not available: {reason}", fix="--device cpu") from None
    return tensor.device  # with its index: "cuda" is not equal to the "cuda:0" of its tensors
