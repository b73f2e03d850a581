"""A monitor as a callback of Lightning."""

from __future__ import annotations

import sys
from typing import Any

from landscape.callbacks.holder import MonitorHolder
from landscape.callbacks.monitor import Monitor
from landscape.errors import UsageError

try:
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        from pytorch_lightning import Callback
    else:
        from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise UsageError(
            "LightningMonitor needs Lightning, which is not installed",
            fix="pip install 'loss-landscape-geometry[lightning]'",
        ) from error


class LightningMonitor(MonitorHolder, Callback):  # type: ignore[misc]  # it is untyped here
    """Measures a LightningModule while a `Trainer` of Lightning trains it; the arguments are those of `Monitor`.

    Steps are those of the optimizer, `trainer.global_step`. `logger="auto"` means the trainer's own loggers. The model
    is measured by its `forward`, on `data` with `loss`; `objective=` takes a function of the module and a batch.

    Raises UsageError for arguments that cannot be used.

    >>> import torch
    >>> from landscape.callbacks import LightningMonitor
    >>> data = torch.zeros(8, 3), torch.zeros(8, dtype=torch.long)
    >>> callback = LightningMonitor(["eig"], data, "cross_entropy", every=500)  # Trainer(callbacks=[callback])
    >>> callback.history
    <History: no checkpoints>
    """

    def __init__(self, analyses: Any, data: Any, loss: Any = None, *, logger: Any = "auto", **options: Any) -> None:
        super().__init__()
        self._uses_own_loggers = isinstance(logger, str) and logger == "auto"
        self.monitor = Monitor(analyses, data, loss, logger=None if self._uses_own_loggers else logger, **options)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The budget counts from here."""
        if self._uses_own_loggers:
            self.monitor.log_to(list(trainer.loggers))
        self.monitor.begin()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measures, if it is due."""
        self.monitor(pl_module, trainer.global_step)
