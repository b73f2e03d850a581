"""Full float32 on CUDA, where torch computes convolutions in TF32 (10 bits of mantissa) unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(tf32: bool) -> Iterator[None]:
    """Within the block TF32 is off, unless it is asked for; the user's own settings are restored."""
    cudnn: Any = torch.backends.cudnn
    settings: list[Any] = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
