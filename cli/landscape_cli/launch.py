"""What a process that a launcher (torchrun) has started beside others knows before torch is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from landscape.compute.launched import is_launched
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.errors import UsageError, clean

FLAG = "--devices"


def is_one_of_several() -> bool:
    """Whether a launcher has started other processes beside this one."""
    return is_launched() and os.environ["WORLD_SIZE"] != "1"


def is_other_rank() -> bool:
    """Whether a launcher has started this process beside a first one, which alone writes and speaks."""
    return is_launched() and os.environ["RANK"] != "0"


def silence_other_ranks() -> None:
    """Sends what this process prints to the null device, unless it is the first of those that a launcher started."""
    if is_other_rank():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def work_in_processes(work: Callable[[], int], devices: int | None = None) -> int:
    """The exit code of the work in the processes that a launcher has started, or of this command in so many new ones.

    Raises UsageError if new ones are asked for in one of several.
    """
    require_room_for_libraries()
    from landscape.compute import launcher

    if devices:
        return launcher.launch(command_of_a_process(), devices)
    return launcher.work_together(work, _speak_for_the_first)


def _speak_for_the_first(line: str) -> None:
    """Prints a line to the stderr that another rank would leave alone, since the first one has ended."""
    with suppress(OSError):
        print(clean(line), file=sys.__stderr__, flush=True)


def command_of_a_process() -> list[str]:
    """This very command without `--devices N`, for each of N processes; raises UsageError in one of several."""
    if is_launched():
        raise UsageError("torchrun has started the processes already", fix=f"without {FLAG}")
    words, skip = [sys.executable, "-m", "landscape"], False
    for word in sys.argv[1:]:
        if not skip and word != FLAG and not word.startswith(f"{FLAG}="):
            words.append(word)
        skip = word == FLAG and not skip
    return words


def require_one_process(command: str) -> None:
    """Raises UsageError in a process of several for a command that is not made for them."""
    if is_one_of_several():
        raise UsageError(
            f"landscape {command} runs in one process, and torchrun started several", fix="the same without torchrun"
        )
