"""Random vectors as pure functions of a seed and a path: no global generator, no state to save."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed that depends on every part of the path: `derive(0, "lanczos", 2)`."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def normal(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A standard normal vector `(size,)` on the device and in the dtype of `like`.

    Drawn in float32 on the CPU, so that every device and precision sees the same numbers.
    """
    generator = torch.Generator(device="cpu").manual_seed(derive(seed, *path))
    return torch.randn(size, generator=generator, dtype=torch.float32, device="cpu").to(like)
