"""Results of several checkpoints, or histories of several runs, beside each other: differences, errors, and why not."""

from landscape.side_by_side.comparison import caveats, compare, read_beside, results_beside
from landscape.side_by_side.labels import labels_of_files, labels_of_runs
from landscape.side_by_side.runs import caveats_of_runs
from landscape.side_by_side.table import Cell, Row, SideBySide

__all__ = [
    "Cell",
    "Row",
    "SideBySide",
    "caveats",
    "caveats_of_runs",
    "compare",
    "labels_of_files",
    "labels_of_runs",
    "read_beside",
    "results_beside",
]
