"""The global random number generators of Python, NumPy and torch: their states, and blocks that begin at one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def global_states() -> dict[str, Any]:
    """The state of each global generator by the name of its library; equal states mean that nothing was drawn."""
    numpy_state: Any = np.random.get_state()
    states = {
        "Python's random": random.getstate(),
        "numpy.random": (numpy_state[0], numpy_state[1].tobytes(), *numpy_state[2:]),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["torch.cuda"] = b"".join(state.numpy().tobytes() for state in torch.cuda.get_rng_state_all())
    return states


def seed_all(seed: int) -> None:
    """Begins all global generators at `seed`; for blocks of `begin_at_seed`, which restores their states."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


@contextmanager
def keep_states() -> Iterator[None]:
    """Whatever is drawn within the block, all global generators have their states of now again afterwards."""
    python, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if used else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def begin_at_seed(seed: int) -> Iterator[None]:
    """Within the block all global generators begin at `seed`; afterwards they have their own states again."""
    with keep_states():
        seed_all(seed)
        yield
