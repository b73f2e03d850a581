"""Measures a model while it trains, and leaves the training as it is to the last bit.

    monitor = Monitor(["eig"], (inputs, targets), "cross_entropy", every=500, output="run.track.h5")
    for step, batch in enumerate(loader):
        ...
        monitor(model, step)

Names are imported on first use (PEP 562): `LightningMonitor` needs Lightning, and `TrainerMonitor` needs transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.callbacks.lightning_monitor import LightningMonitor as LightningMonitor
    from landscape.callbacks.monitor import Monitor as Monitor
    from landscape.callbacks.trainer_monitor import TrainerMonitor as TrainerMonitor

HOMES = {"LightningMonitor": "lightning_monitor", "Monitor": "monitor", "TrainerMonitor": "trainer_monitor"}
__all__ = ["LightningMonitor", "Monitor", "TrainerMonitor"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'landscape.callbacks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"landscape.callbacks.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
