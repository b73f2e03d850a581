"""Whether the processes that measure together add up the same numbers, and how fast they do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.compute.ranks import Ranks
from landscape.errors import LostRankError, RankError

NUMBERS = 1 << 22  # of a sum that is timed: 16 MB in float32
ROUNDS = 3  # of which the fastest counts
RTOL = 1e-5  # of float32 sums in another order


class RankFinding(NamedTuple):
    """What a check of the ranks found; `passed` on all of them."""

    name: str
    passed: bool
    found: str
    fix: str = ""


def check_ranks(ranks: Ranks) -> Iterator[RankFinding]:
    """Yields every check in turn; all ranks make them together."""
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    names = ranks.gather(name, "the devices")
    yield RankFinding("ranks", True, f"{ranks.size}: {', '.join(f'{n} {name}' for n, name in enumerate(names))}")
    numbers = [_numbers(rank, device) for rank in range(ranks.size)]
    began = time.perf_counter()
    total = _sum(ranks, numbers[ranks.rank].clone(), device)
    seconds = [time.perf_counter() - began]
    exact = torch.stack([one.double() for one in numbers]).sum(dim=0)
    right = bool(torch.allclose(total.double(), exact, rtol=RTOL, atol=RTOL))
    every = ranks.gather((right, total.view(torch.int32).sum(dtype=torch.int64).item()), "the sums")
    wrong = [str(rank) for rank, (good, bits) in enumerate(every) if not good or bits != every[0][1]]
    found = f"wrong on rank {', '.join(wrong)}" if wrong else f"{NUMBERS:,} numbers, the same bits on all ranks"
    yield RankFinding("sums", not wrong, found, "another version of torch, or another network interface")
    for _ in range(ROUNDS - 1):
        began = time.perf_counter()
        _sum(ranks, numbers[ranks.rank].clone(), device)
        seconds.append(time.perf_counter() - began)
    slowest = max(ranks.gather(min(seconds), "the seconds"))
    rate = total.nbytes / slowest / 1e9
    yield RankFinding(
        "bandwidth", True, f"{total.nbytes / 1e6:.0f} MB summed in {slowest * 1e3:.0f} ms, {rate:.2f} GB/s"
    )


def check_same(ranks: Ranks, what: str, value: str) -> RankFinding:
    """Whether all ranks have the same value."""
    try:
        ranks.require_same(what, value)
    except LostRankError:
        raise
    except RankError as error:
        return RankFinding(what, False, error.what, "the same files and versions for all processes")
    return RankFinding(what, True, f"the same on all ranks, {value[:16]}")


def _sum(ranks: Ranks, mine: Tensor, device: torch.device) -> Tensor:
    (total,) = ranks.sum((mine,), device).parts
    return total


def _numbers(rank: int, device: torch.device) -> Tensor:
    return torch.rand(NUMBERS, generator=torch.Generator().manual_seed(rank)).to(device)
