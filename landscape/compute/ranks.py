"""The processes that measure together: which one this is, sums over all of them, and what they must agree on.

Every process (a rank, as torch calls it) makes the same steps on the same vectors; only data are dealt out. Whatever
one of them could decide otherwise than the others - by its clock, its free memory, a signal, a file - is decided once,
for all. They are started by `torchrun` or `landscape ... --devices N`; a process of its own is one rank of one.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from landscape.compute import memory
from landscape.compute.out_of_memory import in_words
from landscape.compute.rank_sums import Layout, as_message, sum_over_ranks
from landscape.errors import LandscapeError, RankError

T = TypeVar("T")
FAILURE, ALIVE = "failure", "alive"  # in the store that all reach: who ended with which error, and who is still there
WORDS_AFTER = 3.0  # seconds in which a process that has ended may have left its error
MEETING = 120.0  # seconds in which all processes come
TIMEOUT = timedelta(hours=6)  # that processes wait for the slowest of them; a dead one is noticed at once


@dataclass(frozen=True)
class Ranks:
    """The processes that measure together: `rank` is this one's number, `size` how many there are.

    `launched` says that they were started to measure together, even if there is one alone. All methods are called by
    every rank, in the same order.
    """

    rank: int = 0
    size: int = 1
    launched: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads and writes files, and prints."""
        return self.rank == 0

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """This rank's share of things that are dealt out in turn."""
        return things[self.rank :: self.size]

    def owns(self, share: int, shares: int) -> bool:
        """Whether this rank adds up a share of the data: consecutive ones are one rank's."""
        return share * self.size // shares == self.rank

    def broadcast(self, value: T) -> T:
        """What the first rank has."""
        return self.gather(value)[0]

    def gather(self, value: T) -> list[T]:
        """What every rank has, in their order."""
        if self.size == 1:
            return [value]
        with self._talking():
            return _gather(value, self.size)

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns on the first rank, which alone does it; every rank raises the error that it raises."""
        if self.size == 1:
            return work()
        outcome: tuple[Any, Exception | None] = (None, None)
        if self.is_first:
            try:
                outcome = work(), None
            except Exception as error:
                outcome = None, _portable(error)
        result, failed = self.broadcast(outcome)
        if failed is not None:
            raise failed
        found: T = result
        return found

    def largest(self, value: int) -> int:
        """The largest of the ranks' numbers: a signal, say, that one of them has received."""
        return max(self.gather(value))

    def require_same(self, what: str, value: str, fix: str = "") -> None:
        """Raises RankError, with the ranks that differ, unless all have the same value."""
        every = self.gather(value)
        others = [rank for rank, theirs in enumerate(every) if theirs != every[0]]
        if others:
            named = f"rank {others[0]} has another {what} than rank 0: {every[others[0]]}, not {every[0]}"
            raise RankError(others[0], named, fix=fix)

    # -- sums ----------------------------------------------------------------------------------------------------

    def sum(
        self, parts: tuple[Tensor, ...] | None, device: torch.device, error: Exception | None = None, fitting: int = 0
    ) -> Summed:
        """The sums of tensors over the ranks, each of which gives its own, None if it has no data, or an error.

        They are added in pairs, pairs of pairs and so on, so that all ranks have the same bits. `fitting` is how many
        samples fit into this rank's memory, if it had to look; the fewest of all come back. Every rank raises the error
        of the first that has one, so that all of them go on in the same way.
        """
        mine = None if parts is None else [as_message(part) for part in parts]
        layouts = None if mine is None else [Layout.of(part) for part in mine]
        news = self.gather((layouts, None if error is None else _portable(error, self.rank), fitting))
        failed = [theirs for _, theirs, _ in news if theirs is not None]
        if failed:
            raise failed[0] from error
        given = [theirs for theirs, _, _ in news if theirs is not None]
        if any(theirs != given[0] for theirs in given):
            raise RankError(None, "the ranks did not come the same way: they add up tensors of other shapes")
        with self._talking():
            total = sum_over_ranks(mine, [theirs is not None for theirs, _, _ in news], self.rank, given[0], device)
        return Summed(total, min((fitting for _, _, fitting in news if fitting), default=0))

    # -- failures ------------------------------------------------------------------------------------------------

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Turns what torch raises where another rank has ended into a RankError with that rank's own words."""
        try:
            yield
        except RuntimeError as error:
            raise _lost_rank(self) from error

    def leave_word(self, error: BaseException) -> None:
        """Tells the other ranks why this one ends; they notice at once that it has."""
        if self.size > 1 and not isinstance(error, RankError) and (store := _STORE.get("store")) is not None:
            with suppress(RuntimeError):
                store.set(FAILURE, pickle.dumps((self.rank, _in_landscape_words(error))))


@dataclass(frozen=True)
class Summed:
    """Sums over all ranks, and how many samples fit into the memory of each of them (0: nobody had to look)."""

    parts: tuple[Tensor, ...]
    fitting: int


ALONE = Ranks()
_STORE: dict[str, Any] = {}
_CURRENT: list[Ranks] = [ALONE]


def current() -> Ranks:
    """The ranks of this process: those that it has joined, else itself alone."""
    return _CURRENT[-1]


def was_launched() -> bool:
    """Whether the environment says that a launcher (torchrun) has started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def join() -> Ranks:
    """Meets the other processes that a launcher has started, and returns who they are; once, before anything is read.

    From then on free memory is what the rank with the least has. Raises RankError if others do not come, or have other
    versions.
    """
    if not was_launched() or current().launched:
        return current()
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), launched=True)
    if ranks.size > 1:
        _meet(ranks)
    _CURRENT.append(ranks)
    versions = f"torch {torch.__version__}, Python {sys.version.split()[0]}"
    ranks.require_same("version", versions, fix="the same environment for all processes")
    agree_on_memory(ranks)
    return ranks


def _meet(ranks: Ranks) -> None:
    """Makes the process group of the ranks; raises RankError if some do not come.

    A command that one process of a training starts has the training's environment, and waits for nobody.
    """
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        whole, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=MEETING))))
        # neither another use of the launcher's store, nor what was left in it before a restart
        store = PrefixStore(f"landscape {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", whole)
        store.set(f"here{ranks.rank}", "")
        store.wait([f"here{rank}" for rank in range(ranks.size)], timedelta(seconds=MEETING))
    except RuntimeError as error:
        raise RankError(
            None,
            f"of {ranks.size} processes that the environment names, not all came to measure together",
            why=f"no more came in {MEETING} seconds ({str(error).splitlines()[0]})",
            fix="unset RANK WORLD_SIZE MASTER_ADDR MASTER_PORT to measure in this process alone",
        ) from error
    _STORE["store"] = store
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=TIMEOUT)


def leave(error: BaseException | None = None) -> None:
    """Ends what `join` began; with an error, after telling the others of it."""
    ranks = _CURRENT.pop() if len(_CURRENT) > 1 else ALONE
    if error is not None:
        ranks.leave_word(error)
    memory.PLANNED.set(None)
    _STORE.pop("store", None)
    if ranks.size > 1 and dist.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


def agree_on_memory(ranks: Ranks) -> None:
    """From now on the free memory of every rank is the least that any has; ranks of one machine share its own."""
    if ranks.size == 1:
        return
    memory.PLANNED.set(None)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size))
    host = memory.free_bytes(torch.device("cpu")) // local
    device = memory.free_bytes(torch.device("cuda")) if torch.cuda.is_available() else host
    every = ranks.gather((device, host))
    memory.PLANNED.set((min(device for device, _ in every), min(host for _, host in every)))


def _gather(value: T, size: int) -> list[T]:
    every: list[Any] = [None] * size
    dist.all_gather_object(every, value)
    return every


def _portable(error: Exception, rank: int | None = None) -> Exception:
    """The error, with a rank if it is one's own, as one that every rank can raise; its words where others lack it."""
    name = "" if rank is None else f"rank {rank}: "
    if isinstance(error, LandscapeError):
        error.what = name + error.what
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the code of the error's class
        own = _in_landscape_words(error)
        return RankError(rank, name + own.what, why=own.why, fix=own.fix)
    return error


def _in_landscape_words(error: BaseException) -> LandscapeError:
    """What a rank says of its error."""
    return error if isinstance(error, LandscapeError) else in_words(error)


def _lost_rank(ranks: Ranks) -> LandscapeError:
    """The error of a rank that has ended, in its own words if it has left some; else the ranks that are missing."""
    began, store = time.monotonic(), _STORE.get("store")
    missing: list[int] = []
    with suppress(RuntimeError):
        if store is not None:
            store.set(f"{ALIVE}{ranks.rank}", "")
        if dist.is_initialized():
            dist.destroy_process_group()  # so that ranks that talk to this one notice at once too
    while store is not None and time.monotonic() - began < WORDS_AFTER:
        with suppress(RuntimeError):
            if store.check([FAILURE]):
                rank, theirs = pickle.loads(store.get(FAILURE))
                return RankError(rank, f"rank {rank} has ended: {theirs.what}", why=theirs.why, fix=theirs.fix)
            missing = [rank for rank in range(ranks.size) if not store.check([f"{ALIVE}{rank}"])]
        time.sleep(0.05)
    names = " and ".join(f"rank {rank}" for rank in missing) or "another process"
    return RankError(
        missing[0] if missing else None,
        f"{names} has ended without a word",
        why="it was killed, or the machine's memory ran out",
        fix="the same command resumes from the last snapshot",
    )
