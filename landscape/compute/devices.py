"""The device that a name stands for."""

from __future__ import annotations

import torch

from landscape.errors import UsageError


def as_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one. Raises UsageError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        probe = torch.zeros(1, device=name)
        probe.item()  # "meta" fails here
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} is not available: {reason}", fix="--device cpu") from None
    return probe.device  # with its number: "cuda" is not equal to the "cuda:0" of its tensors
