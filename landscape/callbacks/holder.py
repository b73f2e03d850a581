"""What the callbacks of training frameworks share: they hold a monitor."""

from __future__ import annotations

from landscape.callbacks.monitor import Monitor
from landscape.history import History


class MonitorHolder:
    """A callback that leaves measuring to its `monitor`."""

    monitor: Monitor

    @property
    def history(self) -> History:
        """What was measured so far."""
        return self.monitor.history

    @property
    def overhead(self) -> float:
        """The share of the time since training began that measurements have taken so far."""
        return self.monitor.overhead
