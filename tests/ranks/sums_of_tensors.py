"""A script for ranks: sums of tensors of several layouts, of which some ranks have none; prints which are right."""

from __future__ import annotations

import json
import os

import torch

from landscape.compute import ranks
from landscape.errors import LandscapeError

mine = ranks.join()
size = mine.size
device = torch.device("cpu")


def numbers(rank: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rank)
    wide = torch.randn(5, 7, generator=generator)
    return wide.T, torch.randn((), generator=generator, dtype=torch.float64), torch.arange(3) + rank


def tree(rank_from: int, width: int) -> tuple[torch.Tensor, ...]:
    """The sum over so many ranks from one on, in aligned pairs."""
    if width == 1:
        return numbers(rank_from)
    halves = tree(rank_from, width // 2), tree(rank_from + width // 2, width // 2)
    return tuple(a + b for a, b in zip(*halves, strict=True))


found = {}
total = mine.sum(numbers(mine.rank), device).parts
exact = tuple(sum(parts[1:], parts[0]) for parts in zip(*[numbers(rank) for rank in range(size)], strict=True))
found["close"] = all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(total, exact, strict=True))
found["layout"] = total[0].stride() == numbers(0)[0].stride()
if size in (2, 4):
    found["bits"] = all(torch.equal(a, b) for a, b in zip(total, tree(0, size), strict=True))
every = mine.gather([part.tolist() for part in total], "totals")
found["same on all"] = all(other == every[0] for other in every)
for silent in range(size):  # one rank has nothing, or all but one
    some = mine.sum(None if mine.rank == silent else numbers(mine.rank), device).parts
    rest = [numbers(rank) for rank in range(size) if rank != silent]
    right = tuple(sum(parts[1:], parts[0]) for parts in zip(*rest, strict=True))
    found[f"without {silent}"] = all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(some, right, strict=True))
    one = mine.sum(numbers(silent) if mine.rank == silent else None, device).parts
    found[f"only {silent}"] = all(torch.equal(a, b) for a, b in zip(one, numbers(silent), strict=True))
found["fitting"] = mine.sum(numbers(0), device, None, mine.rank).fitting == min(1, size - 1)
found["broadcast"] = mine.broadcast(f"rank {mine.rank}") == "rank 0"
found["largest"] = mine.step(3, mine.rank) == size - 1
found["first"] = mine.first(lambda: os.environ["RANK"]) == "0"
try:
    mine.sum((torch.zeros(2 + (mine.rank == size - 1)),), device)
    found["shapes"] = False
except LandscapeError as error:
    found["shapes"] = "other shapes" in error.what and error.shared
try:
    mine.sum(None, device, ValueError("mine") if mine.rank == size - 1 else None)
    found["errors"] = False
except LandscapeError as error:
    found["errors"] = error.what.startswith(f"rank {size - 1}: ") or "ValueError" in error.what
except ValueError as error:
    found["errors"] = str(error) == "mine"
if mine.is_first:
    print(json.dumps(found))
ranks.leave()
