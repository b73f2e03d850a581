"""A run's history: what was measured at its checkpoints, step by step, in one table and one file."""

from landscape.history.history import NAME, History, Moment
from landscape.history.quantities import STEP, Quantity
from landscape.history.reading import history_of, is_history, read_history

__all__ = ["NAME", "STEP", "History", "Moment", "Quantity", "history_of", "is_history", "read_history"]
