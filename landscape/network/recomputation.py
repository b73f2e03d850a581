"""Forward passes without activation checkpointing.

Activation checkpointing computes activations again in the backward pass. By then the model has its own weights, dtype
and mode back: derivatives at other weights would be wrong, and a second derivative mostly fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from torch.utils import checkpoint

from landscape.compute.patching import SharedPatch


def _no_recomputation(*_: Any, **__: Any) -> Iterator[None]:
    """Stand-in for torch's generator around a non-reentrant checkpointed pass that does nothing."""
    yield


class _PlainForward:
    """Stand-in for torch's autograd function of reentrant checkpoints: the forward pass itself."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *arguments: Any) -> Any:
        """Calls the checkpointed function."""
        return function(*arguments)


# private names of torch.utils.checkpoint since torch 2.1, and since 2.14 (impl); a torch without them keeps checkpoints
REPLACEMENTS = {
    "_checkpoint_without_reentrant_generator": _no_recomputation,
    "_checkpoint_without_reentrant_generator_impl": _no_recomputation,
    "CheckpointFunction": _PlainForward,
}


def _replace() -> Callable[[], None]:
    originals = {name: getattr(checkpoint, name) for name in REPLACEMENTS if hasattr(checkpoint, name)}
    for name in originals:
        setattr(checkpoint, name, REPLACEMENTS[name])

    def restore() -> None:
        """Torch's own checkpointing again."""
        for name, original in originals.items():
            setattr(checkpoint, name, original)

    return restore


PATCH = SharedPatch(_replace)


def without_recomputation() -> AbstractContextManager[None]:
    """Within the block `torch.utils.checkpoint.checkpoint` calls its function and keeps its activations.

    This changes torch for the whole process: checkpoints of a training step in another thread keep theirs meanwhile.
    """
    return PATCH.in_force()
