"""Attention layers of torch computed by the same kernels with and without gradients.

Without gradients `nn.TransformerEncoderLayer` and `nn.MultiheadAttention` take a fused fast path. Its outputs differ at
padded tokens, and it has no derivative that transforms of `torch.func` could take.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from landscape.compute.patching import SharedPatch


def _disable() -> Callable[[], None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)

    def restore() -> None:
        """The user's own setting again."""
        torch.backends.mha.set_fastpath_enabled(enabled)

    return restore


PATCH = SharedPatch(_disable)


def without_fast_path() -> AbstractContextManager[None]:
    """Within the block torch's attention layers take their plain path; the setting is that of the whole process."""
    return PATCH.in_force()
