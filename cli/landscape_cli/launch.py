"""The command on several processes: started here with `--devices N`, or by torchrun; the first of them speaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from landscape.errors import RankError, UsageError

WITHOUT = "--devices"
NOT_TOGETHER = "runs in one process"


def is_other_rank() -> bool:
    """Whether the environment says that a launcher has started this process beside a first one."""
    return os.environ.get("RANK", "0") != "0" and "MASTER_ADDR" in os.environ


def silence_other_ranks() -> None:
    """Sends what this process prints to the null device, unless it is the first of those that a launcher started."""
    if is_other_rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def require_one_process(command: str) -> None:
    """Raises UsageError in a process of several for a command that is not made for them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ:
        raise UsageError(f"landscape {command} {NOT_TOGETHER}, and torchrun started several", fix="without torchrun")


@contextmanager
def together() -> Iterator[None]:
    """Within the block this process measures with those that a launcher started beside it, if one did.

    A process that ends with an error tells the others. Where the first has ended, the second speaks.
    """
    if "MASTER_ADDR" not in os.environ:
        yield
        return
    from landscape.compute import ranks

    ranks.join()
    try:
        yield
    except BaseException as error:
        if isinstance(error, RankError) and error.rank == 0 and ranks.current().rank == 1:
            print(f"error: {error}", file=sys.__stderr__)
        ranks.leave(error)
        raise
    ranks.leave()


def agreed_code(code: int) -> int:
    """The exit code of the first process, which all of them end with."""
    if "MASTER_ADDR" not in os.environ:
        return code
    from landscape.compute import ranks

    return ranks.current().agreed(code)


def launch(devices: int) -> int:
    """Runs this very command in so many processes, and returns the exit code of the first that failed, or 0."""
    if "MASTER_ADDR" in os.environ:
        raise UsageError("torchrun has started the processes already", fix="without --devices")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    threads = max(1, (os.cpu_count() or 1) // devices)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    words = [sys.executable, "-m", "landscape", *_without_devices(sys.argv[1:])]
    try:
        elastic_launch(config, words[0])(*words[1:])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


def _without_devices(arguments: list[str]) -> list[str]:
    """The arguments without the number of processes."""
    words, skip = [], False
    for word in arguments:
        if skip or word.startswith(f"{WITHOUT}="):
            skip = False
        elif word == WITHOUT:
            skip = True
        else:
            words.append(word)
    return words
