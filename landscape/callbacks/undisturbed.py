"""Blocks that leave a training as it is: its random numbers, and the contexts in which its code stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from landscape.compute.random_state import keep_states

AUTOCAST_DEVICES = ("cpu", "cuda")


@contextmanager
def leave_training_undisturbed(device: str) -> Iterator[None]:
    """Within the block torch computes in full precision, and derivatives can be taken, whatever surrounds it.

    Autocast and inference mode are off, gradients are on. Afterwards all global generators of random numbers have their
    earlier states. `device` is where the block computes: CUDA's generators have states only once CUDA is in use.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
    with keep_states(), torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def finish_queued_work(device: str) -> None:
    """Waits for what training has queued on a GPU, whose time is not that of a measurement."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
