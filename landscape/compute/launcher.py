"""Work on several processes: started here, or by a launcher (torchrun) that started this one beside others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from landscape.compute import ranks
from landscape.compute.rank_failures import word_of_another
from landscape.errors import Interrupted, RankError


def work_together(work: Callable[[], int], speak: Callable[[str], None]) -> int:
    """The exit code of the work, which this process does with those that a launcher started beside it.

    All of them end with the first one's code. A process that ends with an error tells the others; where the first has
    ended, the second says so by `speak`.
    """
    together = ranks.join()
    try:
        code = together.broadcast(work())
    except BaseException as error:
        # a launcher ends all processes as soon as one has ended
        word = word_of_another() if isinstance(error, Interrupted) and not error.shared else None
        if isinstance(error, RankError) and error.rank == 0 and together.rank == 1:
            speak(f"error: {error}")
        ranks.leave(error)
        if word is not None:
            raise word from error
        raise
    ranks.leave()
    return code


def launch(words: Sequence[str], processes: int) -> int:
    """Runs a command in so many processes of this machine; returns the exit code of the first that failed, or 0."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, words[0])(*words[1:])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0
