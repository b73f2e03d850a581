"""A monitor as a callback of the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from landscape.callbacks.holder import MonitorHolder
from landscape.callbacks.monitor import Monitor
from landscape.plugins.optional import import_optional

INSTALL = "pip install 'loss-landscape-geometry[trainer]'"
TrainerCallback: Any = import_optional("transformers", "TrainerMonitor", INSTALL).TrainerCallback


class TrainerMonitor(MonitorHolder, TrainerCallback):  # type: ignore[misc]  # it is untyped here
    """Measures a model while a `Trainer` of transformers trains it; the arguments are those of `Monitor`.

    Steps are those of the optimizer, `state.global_step`. `loss="hf"` is the loss that the model itself computes from
    `labels`.

    Raises UsageError for arguments that cannot be used.

    >>> import torch
    >>> from landscape.callbacks import TrainerMonitor
    >>> data = {"input_ids": torch.zeros(8, 3, dtype=torch.long), "labels": torch.zeros(8, 3, dtype=torch.long)}
    >>> callback = TrainerMonitor(["eig"], data, "hf", every=500)  # Trainer(..., callbacks=[callback])
    >>> callback.history
    <History: no checkpoints>
    """

    def __init__(self, analyses: Any, data: Any, loss: Any = None, **options: Any) -> None:
        self.monitor = Monitor(analyses, data, loss, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The budget counts from here."""
        self.monitor.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Measures, if it is due."""
        self.monitor.follow(kwargs.get("optimizer"))
        self.monitor(model, state.global_step)
