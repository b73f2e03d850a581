"""How a process of several fails: its error as one that all can raise, and the word that it leaves for others."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from landscape.compute.out_of_memory import in_words
from landscape.errors import LandscapeError, LostRankError, RankError

FAILURE, ALIVE = "failure", "alive"  # in the store that all reach: who ended with which error, and who is still there
WORDS_AFTER = 3.0  # seconds in which a process that has ended may have left its error


@dataclass
class _State:
    """What this process knows of the others: the store of the launcher, its own rank, and whether one is lost.

    `dealing` says that it is computing its share of the data, where it must not wait for the others.
    """

    store: Any = None
    lost: RankError | None = None
    dealing: bool = False
    rank: int = 0


STATE = _State()


@contextmanager
def dealing() -> Iterator[None]:
    """The block in which this process computes its share of the data: it must not wait for others there."""
    before, STATE.dealing = STATE.dealing, True
    try:
        yield
    finally:
        STATE.dealing = before


def portable(error: Exception, rank: int | None = None) -> Exception:
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


def leave_word(error: BaseException) -> None:
    """Tells the other ranks why this one ends; they notice at once that it has."""
    shared = isinstance(error, RankError) or (isinstance(error, LandscapeError) and error.shared)
    if STATE.store is not None and not shared:
        with suppress(RuntimeError):
            STATE.store.set(FAILURE, pickle.dumps((STATE.rank, _in_landscape_words(error))))


def word_of_another() -> LostRankError | None:
    """The error of a rank that has ended, in its own words, if it has left some."""
    with suppress(RuntimeError):
        if STATE.store is not None and STATE.store.check([FAILURE]):
            rank, theirs = pickle.loads(STATE.store.get(FAILURE))
            if rank != STATE.rank:
                return LostRankError(rank, f"rank {rank} has ended: {theirs.what}", why=theirs.why, fix=theirs.fix)
    return None


def lost_rank(rank: int, size: int) -> LostRankError:
    """The error of a rank that has ended, in its own words if it has left some; else the ranks that are missing."""
    began, store = time.monotonic(), STATE.store
    missing: list[int] = []
    with suppress(RuntimeError):
        if store is not None:
            store.set(f"{ALIVE}{rank}", "")
        if dist.is_initialized():
            dist.destroy_process_group()  # so that ranks that talk to this one notice at once too
    while store is not None and time.monotonic() - began < WORDS_AFTER:
        if (word := word_of_another()) is not None:
            return word
        with suppress(RuntimeError):
            missing = [other for other in range(size) if not store.check([f"{ALIVE}{other}"])]
        time.sleep(0.05)
    names = " and ".join(f"rank {other}" for other in missing) or "another process"
    return LostRankError(
        missing[0] if missing else None,
        f"{names} has ended without a word",
        why="it was killed, or the machine's memory ran out",
        fix="the same command resumes from the last snapshot",
    )
