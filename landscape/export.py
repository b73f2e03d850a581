"""Results as text for other programs: tables of all, and structured grids of VTK of surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.analyses import ANALYSES
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.tidy import TidyTable, tidy_tables
from landscape.errors import UsageError
from landscape.history import History
from landscape.session import read
from landscape.storage import paths
from landscape.storage.atomic_files import replace_file

if TYPE_CHECKING:
    from landscape.analyses.base import Result

EXPORTED_COLUMNS = ("loss", "accuracy", "metric", "status", "error")
ANALYSES_OF_RESULTS = {analysis.result: analysis.name for analysis in ANALYSES}


def export_results(file: Path, *, grids: bool, tables: bool) -> list[Path]:
    """Writes the results of a file beside it: surfaces as `grids` of VTK, all results as `tables`; returns the paths.

    Raises OutputError for a file that cannot be read, and UsageError for grids without a surface in two dimensions.
    """
    stored = read(file)
    if isinstance(stored, History):
        return _export_history(stored, file, grids=grids)
    records = stored.records
    if grids and "surface" not in records:
        raise UsageError(f"{file} holds no surface", fix="landscape surface CKPT")
    contents = [(f"surface{suffix}", text) for suffix, text in (vts(records["surface"]) if grids else ())]
    for name, result in records.items() if tables else ():
        contents += [(f"{name}{suffix}", text) for suffix, text in csv(result)]
    written = []
    for name, text in contents:
        written.append(paths.beside(file, name))
        replace_file(written[-1], text.encode())
    return written


def _export_history(history: History, file: Path, *, grids: bool) -> list[Path]:
    """Writes a run's history as a table; raises UsageError for grids of it."""
    if grids:
        raise UsageError(f"{file} is the history of a run, and holds no surface", fix="--csv")
    table = paths.beside(file, "csv")
    replace_file(table, history.to_csv().encode())
    return [table]


def vts(result: SurfaceResult) -> Iterator[tuple[str, str]]:
    """A file's suffix and a VTK XML structured grid for each plane, whose height is the loss.

    The logarithm of the loss is among the columns if all losses are above 0. A point without a finite loss lies at the
    height of the highest finite one. Raises UsageError for a line.
    """
    if result.beta is None:
        raise UsageError("a structured grid needs two dimensions, and the result is a line", fix="--csv")
    alpha, beta = np.meshgrid(result.alpha, result.beta)
    for suffix, columns in _plane_columns(result):
        losses = columns["loss"]
        finite = losses[np.isfinite(losses)]
        heights = np.where(np.isfinite(losses), losses, finite.max() if len(finite) else 0.0)
        if len(finite) and finite.min() > 0:
            columns["log10_loss"] = np.log10(losses)
        points = np.stack([alpha, beta, heights], axis=-1)
        extent = f"0 {len(result.alpha) - 1} 0 {len(result.beta) - 1} 0 0"
        arrays = "".join(_data_array(name, values.ravel(), 1) for name, values in columns.items())
        yield (
            f"{suffix}.vts",
            '<?xml version="1.0"?>\n<VTKFile type="StructuredGrid" version="0.1" byte_order="LittleEndian">\n'
            f'<StructuredGrid WholeExtent="{extent}">\n<Piece Extent="{extent}">\n'
            f'<PointData Scalars="loss">\n{arrays}</PointData>\n'
            f"<Points>\n{_data_array('points', points.ravel(), 3)}</Points>\n</Piece>\n</StructuredGrid>\n</VTKFile>\n",
        )


def csv(result: Result) -> Iterator[tuple[str, str]]:
    """A file's suffix and a comma-separated table for all quantities with the same dimensions, and for the scalars.

    The suffix names the dimensions, the first column the analysis. A surface has a table for each plane or line: alpha,
    beta, then what was measured.
    """
    if isinstance(result, SurfaceResult):
        yield from _planes(result)
        return
    for dims, table in tidy_tables(result).items():
        if len(table.columns) == len(dims):  # nothing but coordinates
            continue
        name = np.full(table.rows, ANALYSES_OF_RESULTS[type(result)])
        yield ".".join(["", *dims, "csv"]), TidyTable(dims, {"analysis": name, **table.columns}).to_csv()


def _planes(result: SurfaceResult) -> Iterator[tuple[str, str]]:
    """A file's suffix and a table for each plane or line."""
    axes = {"alpha": result.alpha} if result.beta is None else {"alpha": result.alpha, "beta": result.beta}
    grids = dict(zip(axes, np.meshgrid(*axes.values()), strict=True))
    for suffix, columns in _plane_columns(result):
        table = {**grids, **columns}
        rows = zip(*(values.ravel().tolist() for values in table.values()), strict=True)
        yield f"{suffix}.csv", "\n".join([",".join(table), *(",".join(map(repr, row)) for row in rows)]) + "\n"


def _plane_columns(result: SurfaceResult) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The suffix of each plane's file, and the plane's columns."""
    columns = {name: values for name in EXPORTED_COLUMNS if (values := getattr(result, name)) is not None}
    if result.seed is None:
        yield "", columns
        return
    for number in range(len(result.seed)):
        yield f"-{number}", {name: values[number] for name, values in columns.items()}


def _data_array(name: str, values: np.ndarray, components: int) -> str:
    text = " ".join(f"{value:.9g}" for value in values.tolist())
    head = f'<DataArray type="Float64" Name="{name}" NumberOfComponents="{components}" format="ascii">'
    return f"{head}\n{text}\n</DataArray>\n"
