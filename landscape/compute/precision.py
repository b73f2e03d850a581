"""The precision in which torch computes: full float32 on CUDA, where convolutions take TF32 (10 bits of mantissa)
unless told otherwise, and float64 for tensors that a model creates while it is measured in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from landscape.compute.patching import SharedPatch
from landscape.compute.turns import take_turn

_BLOCKS: list[bool] = []  # the setting of each block that is entered now
_RESTORE: list[Callable[[], None]] = []  # one function while there are blocks


@contextmanager
def full_precision(tf32: bool) -> Iterator[None]:
    """Within the block TF32 is off, unless `tf32` allows it; the outermost block restores the user's settings.

    The settings are those of the whole process: threads take turns. Blocks may be nested: the inner one decides.
    """
    with take_turn():
        if not _BLOCKS:
            _RESTORE.append(_remember_settings())
        _BLOCKS.append(tf32)
        _allow_tf32(tf32)
        try:
            yield
        finally:
            _BLOCKS.pop()
            if _BLOCKS:
                _allow_tf32(_BLOCKS[-1])
            else:
                _RESTORE.pop()()


def _allow_tf32(allowed: bool) -> None:
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def _remember_settings() -> Callable[[], None]:
    """A function that restores the settings as they are now.

    Torch has two spellings of them, and refuses to read the older one where they differ: models that use the older one
    must find it intact.
    """
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    settings = cudnn.conv, cudnn.rnn, matmul
    try:
        older: tuple[bool, bool] | None = (cudnn.allow_tf32, matmul.allow_tf32)
    except RuntimeError:  # the user set some of the newer ones
        older = None
    newer = [setting.fp32_precision for setting in settings]

    def restore() -> None:
        """Sets both spellings as they were."""
        if older is not None:
            cudnn.allow_tf32, matmul.allow_tf32 = older
        for setting, precision in zip(settings, newer, strict=True):
            if setting.fp32_precision != precision:
                setting.fp32_precision = precision

    return restore


def _create_float64() -> Callable[[], None]:
    earlier = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    return lambda: torch.set_default_dtype(earlier)


_FLOAT64 = SharedPatch(_create_float64)


def default_float64() -> AbstractContextManager[None]:
    """Within the block tensors that a user's model or loss creates from numbers are float64, as what is measured is.

    `torch.tensor([1.0, 5.0])` in a loss would be float32, which many operations do not take together with float64. The
    default is that of the whole process.
    """
    return _FLOAT64.in_force()
