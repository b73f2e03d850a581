"""Activation checkpointing taken out of a forward pass.

It computes activations again in the backward pass, which comes when the model has its own weights, dtype and mode back:
derivatives elsewhere would be wrong, and a second derivative mostly fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint


def _once(*_: Any, **__: Any) -> Iterator[None]:
    """In place of the generator that wraps a forward pass: nothing before it, and nothing after."""
    yield


class _Plain:
    """In place of the autograd function: the forward pass itself."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *arguments: Any) -> Any:
        return function(*arguments)


REPLACED = {"_checkpoint_without_reentrant_generator": _once, "CheckpointFunction": _Plain}


@contextmanager
def without_recomputation() -> Iterator[None]:
    """Within the block `torch.utils.checkpoint.checkpoint` calls its function and keeps its activations."""
    known = {name: getattr(checkpoint, name) for name in REPLACED if hasattr(checkpoint, name)}
    try:
        for name in known:
            setattr(checkpoint, name, REPLACED[name])
        yield
    finally:
        for name, original in known.items():
            setattr(checkpoint, name, original)
