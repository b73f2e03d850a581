"""A net that counts the samples that pass forward and backward through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Passes:
    """Samples that went forward and backward through a module."""

    forward: int = 0
    backward: int = 0


@contextmanager
def count_passes(kind: type[nn.Module]) -> Iterator[Passes]:
    """Counts the samples that pass through modules of exactly this class within the block."""
    passes, original = Passes(), kind.__call__

    def count_backward(gradient: Tensor, samples: int) -> None:
        passes.backward += samples

    def counted(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        output = original(self, *args, **kwargs)
        if type(self) is not kind:
            return output
        tensor = output if isinstance(output, Tensor) else output.logits
        passes.forward += len(tensor)
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: count_backward(gradient, len(tensor)))
        return output

    kind.__call__ = counted  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        kind.__call__ = original  # type: ignore[method-assign]
