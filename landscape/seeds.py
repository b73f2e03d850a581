"""Random vectors as pure functions of a seed and a path: no global generator, no state to save."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from landscape.compute.shards import of_size

CHUNK = 1 << 20  # coordinates that one generator draws; another value would change the numbers of longer vectors
CHUNK_SAMPLES = 1024  # samples whose numbers one generator draws; other values would change all numbers
SMALLEST_UNIFORM = 2.0**-54  # half of the finest step of torch.rand, which may return 0


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed that depends on the seed and on every part of the path.

    >>> derive(0, "lanczos", 2) == derive(0, "lanczos", 2), derive(0, "lanczos", 2) == derive(0, "lanczos", 3)
    (True, False)
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def normal(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A standard normal vector `(size,)` on the device and in the dtype of `like`.

    Drawn in float32 on the CPU, so that every device and precision sees the same numbers. Each `CHUNK` of them has a
    generator of its own, so that a part of the vector can be drawn without those before it.
    """
    return fill_normal(torch.empty(size, dtype=like.dtype, device=like.device), seed, *path)


def fill_normal(numbers: Tensor, seed: int, *path: str | int) -> Tensor:
    """Writes the numbers of `normal` into a vector, which it returns."""
    for first, part in normal_chunks(len(numbers), seed, *path):
        numbers[first : first + len(part)].copy_(part)
    return numbers


def normal_chunks(size: int, seed: int, *path: str | int) -> Iterator[tuple[int, Tensor]]:
    """The numbers of `normal` in consecutive parts, each with its first place."""
    for index, first in enumerate(range(0, size, CHUNK)):
        chunk = (*path, "chunk", index) if index else path
        generator = torch.Generator(device="cpu").manual_seed(derive(seed, *chunk))
        count = min(CHUNK, size - first)
        yield first, torch.randn(count, generator=generator, dtype=torch.float32, device="cpu")


def normal_vector(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A standard normal vector of so many coordinates `(P,)`, or what this rank holds of it; see `normal`."""
    shards = of_size(size)
    if shards is None:
        return normal(size, like, seed, *path)
    vector = torch.zeros(shards.length, dtype=like.dtype, device=like.device)
    for first, numbers in normal_chunks(shards.size, seed, *path):
        shards.put_range(vector, first, numbers.to(vector))
    return vector


def uniform(first: int, shape: tuple[int, ...], like: Tensor, seed: int, *path: str | int) -> Tensor:
    """Uniform float64 numbers in (0, 1) for consecutive samples, of `shape` with samples along axis 0.

    `first` is the place of the first sample in the data set. A sample's numbers depend on its place alone, not on where
    batches begin.
    """
    width = prod(shape[1:])
    last = first + shape[0]
    rows = torch.empty((shape[0], width), dtype=torch.float64, device="cpu")
    for chunk in range(first // CHUNK_SAMPLES, -(-last // CHUNK_SAMPLES)):
        generator = torch.Generator(device="cpu").manual_seed(derive(seed, *path, width, chunk))
        begin = chunk * CHUNK_SAMPLES
        for _ in range(begin, first):  # rows of samples before the first are drawn and forgotten
            torch.rand(width, generator=generator, dtype=torch.float64, device="cpu")
        part = rows[max(begin - first, 0) : begin + CHUNK_SAMPLES - first]
        torch.rand(part.shape, generator=generator, dtype=torch.float64, device="cpu", out=part)
    return rows.clamp_min_(SMALLEST_UNIFORM).reshape(shape).to(like.device)
