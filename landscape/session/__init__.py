"""Drives an analysis: resumes earlier work, reports progress, saves snapshots, obeys signals, writes the result."""

from landscape.session.attributes import has_readable_attributes, json_document
from landscape.session.driver import as_analysis, execute, run
from landscape.session.progress import ProgressCallback, ignore_progress
from landscape.session.record import MeasurementRecord
from landscape.session.same_matrix import results_of_same_matrix
from landscape.session.stop import StopSignals
from landscape.session.stored import Results, read, read_measurements, result_of
from landscape.session.titles import measurement_title

__all__ = [
    "MeasurementRecord",
    "ProgressCallback",
    "Results",
    "StopSignals",
    "as_analysis",
    "execute",
    "has_readable_attributes",
    "ignore_progress",
    "json_document",
    "measurement_title",
    "read",
    "read_measurements",
    "result_of",
    "results_of_same_matrix",
    "run",
]
