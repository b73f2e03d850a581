"""Measures the checkpoints of a run one after the other, into one history that grows with the run."""

from landscape.history.edge import EdgeOfStability
from landscape.tracking.tracker import Tracker
from landscape.tracking.whole_run import track

__all__ = ["EdgeOfStability", "Tracker", "track"]
