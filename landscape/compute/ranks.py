"""The processes that measure together: which one this is, sums over all of them, and what they must agree on.

Every process (a rank, as torch calls it) makes the same steps on the same vectors; only data are dealt out. Whatever
one of them could decide otherwise than the others - by its clock, its free memory, a signal, a file - is decided once,
for all. They are started by `torchrun` or `landscape ... --devices N`; a process of its own is one rank of one.
"""

from __future__ import annotations

import os
import sys
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
from landscape.compute.launched import is_launched
from landscape.compute.out_of_memory import in_words, is_out_of_memory
from landscape.compute.rank_failures import STATE, leave_word, lost_rank, portable
from landscape.compute.rank_sums import Layout, as_message, sum_over_ranks
from landscape.errors import LandscapeError, LostRankError, RankError, TaskError, UsageError

T = TypeVar("T")
MEETING = 120.0  # seconds in which all processes come
ONE_WAY = "--shard off: each rank then holds all weights"
GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name since torch 2.13
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
        if self.size == 1:
            return value
        self.gather(None, "what the first rank has")
        box = [value]
        with self._talking():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T, about: str) -> list[T]:
        """What every rank has, in their order; raises RankError unless all of them ask for the same, in words."""
        if self.size == 1:
            return [value]
        if STATE.lost is not None:
            raise STATE.lost
        if STATE.dealing:
            raise RankError(self.rank, f"a sum within a sum over the data, for {about}: ranks without data skip it")
        with self._talking():
            every = _gather((about, value), self.size)
        strays = [rank for rank, (theirs, _) in enumerate(every) if theirs != every[0][0]]
        if strays:
            went = f"rank {strays[0]} went another way than rank 0: to {every[strays[0]][0]}, not to {every[0][0]}"
            raise self._share(RankError(strays[0], went))
        return [theirs for _, theirs in every]

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns on the first rank, which alone does it; every rank raises the error that it raises."""
        if self.size == 1:
            return work()
        outcome: tuple[Any, Exception | None] = (None, None)
        if self.is_first:
            try:
                outcome = work(), None
            except Exception as error:
                outcome = None, portable(error)
        result, failed = self.broadcast(outcome)
        if failed is not None:
            raise self._share(failed)
        found: T = result
        return found

    def together(self, work: Callable[[], T]) -> T:
        """What `work`, in which no rank waits for another, returns here; all raise the error of one that has one."""
        if self.size == 1:
            return work()
        outcome: tuple[T, ...] = ()
        failed: Exception | None = None
        try:
            outcome = (work(),)
        except Exception as error:
            failed = portable(error, self.rank)
        errors = [theirs for theirs in self.gather(failed, "the errors of a common work") if theirs is not None]
        if errors:
            raise self._share(errors[0]) from failed
        return outcome[0]

    def step(self, done: int, signal: int) -> int:
        """The largest signal that a rank has received, after a step; raises RankError where ranks are elsewhere."""
        every = self.gather((done, signal), "a step of the measurement")
        other = next((rank for rank, (theirs, _) in enumerate(every) if theirs != every[0][0]), None)
        if other is not None:
            went = f"rank {other} is at step {every[other][0]}, and rank 0 at step {every[0][0]}"
            raise self._share(RankError(other, went, why="machines that compute other last bits"))
        return max(theirs for _, theirs in every)

    def agree_on_memory(self) -> None:
        """From now on the free memory of every rank is the least that any has; ranks of one machine share its own."""
        if self.size == 1:
            return
        memory.PLANNED.set(None)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        host = memory.free_bytes(torch.device("cpu")) // local
        device = memory.free_bytes(torch.device("cuda")) if torch.cuda.is_available() else host
        every = self.gather((device, host), "the free memory")
        memory.PLANNED.set((min(device for device, _ in every), min(host for _, host in every)))

    def _share(self, error: Exception) -> Exception:
        """The error, marked as one that every rank raises."""
        if isinstance(error, LandscapeError):
            error.shared = True
        return error

    def require_same(self, what: str, value: str, fix: str = "") -> None:
        """Raises RankError, with the ranks that differ, unless all have the same value."""
        every = self.gather(value, what)
        others = [rank for rank, theirs in enumerate(every) if theirs != every[0]]
        if others:
            named = f"rank {others[0]} has another {what} than rank 0: {every[others[0]]}, not {every[0]}"
            raise self._share(RankError(others[0], named, fix=fix))

    # -- sums ----------------------------------------------------------------------------------------------------

    def sum(
        self, parts: tuple[Tensor, ...] | None, device: torch.device, error: Exception | None = None, fitting: int = 0
    ) -> Summed:
        """The sums of tensors over the ranks, each of which gives its own, None if it has no data, or an error.

        They are added in pairs, pairs of pairs and so on, so that all ranks have the same bits. `fitting` is how many
        samples fit into this rank's memory, if it had to look; the fewest of all come back. Every rank raises the error
        of the first that has one, so that all of them go on in the same way.
        """
        if isinstance(error, LostRankError):
            raise error
        mine = None if parts is None else [as_message(part.to(device)) for part in parts]
        layouts = None if mine is None else [Layout.of(part) for part in mine]
        mine_to_raise = None if error is None else portable(error, self.rank)
        news = self.gather((layouts, mine_to_raise, fitting), "a sum over the data")
        failed = [theirs for _, theirs, _ in news if theirs is not None]
        if failed:
            raise self._share(failed[0]) from error
        given = [theirs for theirs, _, _ in news if theirs is not None]
        if not given:
            raise self._share(
                TaskError("the data gave no batch in this pass", fix="data that give the same every time")
            )
        if any([one[::2] for one in theirs] != [one[::2] for one in given[0]] for theirs in given):  # shapes, dtypes
            raise self._share(RankError(None, "the ranks went other ways: they add up tensors of other shapes"))
        if mine is not None:  # another order in memory is copied into the first one's
            mine = [one.copy_of(part) for part, one in zip(mine, given[0], strict=True)]
        with self._talking():
            total = sum_over_ranks(mine, [theirs is not None for theirs, _, _ in news], self.rank, given[0], device)
        return Summed(total, min((fitting for _, _, fitting in news if fitting), default=0))

    def collect(self, message: Tensor, label: int = 0) -> Tensor:
        """The messages `(n, m)` of all ranks below each other; raises TaskError unless all have the same `label`."""
        if self.size == 1:
            return message
        whole = message.new_empty((self.size * len(message), message.shape[1]))
        with self._exchanging():
            self._require_label(label, message.device)
            GATHER(whole, message)
        return whole

    def swap(self, message: Tensor, label: int = 0) -> Tensor:
        """From rows `(ranks, m)`, one for each rank, the rows of all for this one; raises TaskError as `collect`."""
        if self.size == 1:
            return message
        received = torch.empty_like(message)
        with self._exchanging():
            self._require_label(label, message.device)
            dist.all_to_all_single(received, message)
        return received

    def _require_label(self, label: int, device: torch.device) -> None:
        """Raises TaskError unless all ranks are about to exchange the same.

        A model that goes another way on other data would be given another module's weights, or wait for ever.
        """
        mine = torch.tensor([label], dtype=torch.int64, device=device)
        every = mine.new_empty(self.size)
        GATHER(every, mine)
        if bool((every != label).any()):
            raise TaskError(
                "the ranks went other ways: they gather the weights of other modules",
                why="the model runs other modules, or differentiates others, for other samples",
                fix=ONE_WAY,
            )

    # -- failures ------------------------------------------------------------------------------------------------

    @contextmanager
    def lockstep(self) -> Iterator[None]:
        """The block in which all ranks make the same calls one by one: what one raises ends the others too.

        Here no rank can tell the others of an error that it has caught: they wait for what it would have computed.
        """
        try:
            yield
        except Exception as error:
            if self.size == 1 or isinstance(error, LostRankError):
                raise
            leave_word(error)
            own = in_words(error) if not isinstance(error, LandscapeError) else error
            STATE.lost = RankError(self.rank, own.what, why=own.why, fix=own.fix)
            if dist.is_initialized():
                dist.destroy_process_group()  # so that ranks that wait for this one notice at once
            raise

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """As `_talking`, in a pass in which all ranks make the same calls."""
        if STATE.lost is not None:
            raise STATE.lost
        with self._talking():
            yield

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Turns what torch raises where another rank has ended into a RankError with that rank's own words."""
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            STATE.lost = lost_rank(self.rank, self.size)
            raise STATE.lost from error


@dataclass(frozen=True)
class Summed:
    """Sums over all ranks, and how many samples fit into the memory of each of them (0: nobody had to look)."""

    parts: tuple[Tensor, ...]
    fitting: int


ALONE = Ranks()
_CURRENT: list[Ranks] = [ALONE]


def current() -> Ranks:
    """The ranks of this process: those that it has joined, else itself alone."""
    return _CURRENT[-1]


def join() -> Ranks:
    """Meets the other processes that a launcher has started, and returns who they are; once, before anything is read.

    From then on free memory is what the rank with the least has. Raises RankError if others do not come, or have other
    versions.
    """
    if not is_launched() or current().launched:
        return current()
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), launched=True)
    if ranks.size > 1:
        _meet(ranks)
    _CURRENT.append(ranks)
    versions = f"torch {torch.__version__}, Python {sys.version.split()[0]}"
    ranks.require_same("version", versions, fix="the same environment for all processes")
    ranks.agree_on_memory()
    return ranks


def _meet(ranks: Ranks) -> None:
    """Makes the process group of the ranks; raises RankError if some do not come.

    A command that one process of a training starts has the training's environment, and waits for nobody.
    """
    if dist.is_initialized():
        raise UsageError("this process has a process group already", fix="measure before it is made, or in another one")
    cuda = torch.cuda.is_available()
    if cuda and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count():
        devices = f"there are {torch.cuda.device_count()} GPUs"
        raise UsageError(
            f"{devices} for {os.environ['LOCAL_WORLD_SIZE']} processes of this machine",
            fix="as many processes as GPUs; CUDA_VISIBLE_DEVICES= measures on the CPU",
        )
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
    STATE.store, STATE.rank = store, ranks.rank
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=TIMEOUT)
    if cuda:
        dist.all_reduce(torch.zeros(1, device="cuda"))  # NCCL wants all ranks in its first operation


def leave(error: BaseException | None = None) -> None:
    """Ends what `join` began; with an error, after telling the others of it."""
    ranks = _CURRENT.pop() if len(_CURRENT) > 1 else ALONE
    if error is not None:
        leave_word(error)
    memory.PLANNED.set(None)
    STATE.store, STATE.lost, STATE.rank = None, None, 0
    if ranks.size > 1 and dist.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _gather(value: T, size: int) -> list[T]:
    every: list[Any] = [None] * size
    dist.all_gather_object(every, value)
    return every
