"""A monitor as a callback of Lightning."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from landscape.callbacks.holder import MonitorHolder
from landscape.callbacks.monitor import Monitor
from landscape.errors import UsageError
from landscape.plugins.optional import import_problem

INSTALL = "pip install 'loss-landscape-geometry[lightning]'"


def _callback_class() -> Any:
    """Lightning's class, of the package that a program has loaded; raises UsageError if none can be imported."""
    packages = ["lightning.pytorch", "pytorch_lightning"]
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        packages.reverse()
    problems = []
    for package in packages:
        try:
            return import_module(package).Callback
        except Exception as error:
            problems.append(import_problem(error, package, INSTALL))
    problem = next((one for one in problems if one.fix != INSTALL), problems[0])  # one that is broken, if one is there
    raise UsageError(f"LightningMonitor needs Lightning, which {problem.what}", fix=problem.fix)


Callback: Any = _callback_class()


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
        if len(trainer.optimizers) == 1:
            self.monitor.follow(trainer.optimizers[0])
        self.monitor(pl_module, trainer.global_step)
