"""Full float32 on CUDA, where torch computes convolutions in TF32 (10 bits of mantissa) unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(tf32: bool) -> Iterator[None]:
    """Within the block TF32 is off, unless it is asked for; the user's own settings are restored.

    Torch has two spellings, and refuses to read the older one where they differ: models that use it must find it whole.
    """
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    settings = cudnn.conv, cudnn.rnn, matmul
    try:
        older: tuple[bool, bool] | None = (cudnn.allow_tf32, matmul.allow_tf32)
    except RuntimeError:  # the user set some of the newer ones
        older = None
    newer = [setting.fp32_precision for setting in settings]
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = tf32
        yield
    finally:
        if older is not None:
            cudnn.allow_tf32, matmul.allow_tf32 = older
        for setting, precision in zip(settings, newer, strict=True):
            if setting.fp32_precision != precision:
                setting.fp32_precision = precision
