"""The leading eigenvectors of the Hessian as axes: those stored beside an earlier result, or new ones."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.eig import Eig
from landscape.errors import NumericalError, OutputError
from landscape.objective import Objective
from landscape.storage import paths
from landscape.storage.array_files import load_arrays
from landscape.storage.read import StoredResult


def compute_eigenvectors(
    objective: Objective, count: int, seed: int, saved: State
) -> Generator[Progress, None, tuple[np.ndarray, tuple[str, ...]]]:
    """Unit eigenvectors `(P, count)` of the largest eigenvalues, and notes on them.

    Raises NumericalError if they do not converge. A state of `load_stored_eigenvectors` is used as it is.
    """
    if "vectors" in saved:
        source = bytes(np.asarray(saved.get("source", ()), dtype=np.uint8)).decode()
        return saved["vectors"], (f"the eigenvectors are those in {source}",) if source else ()
    result = yield from Eig(k=count, seed=seed, save_vectors=True).measure(objective, saved or None)
    if trouble := result.trouble():
        raise NumericalError(f"the eigenvectors are not known: {trouble}", fix="--axes random, or --dtype float64")
    assert result.vectors is not None
    vectors = _orient(result.vectors)
    yield Progress(count, count, "eigenvectors", lambda: {"vectors": vectors})
    return vectors, result.notes


def load_stored_eigenvectors(
    objective: Objective, stored: Mapping[str, StoredResult], output: Path, count: int
) -> State | None:
    """A state for `compute_eigenvectors` from the file that `eig --save-vectors` wrote next to `output`.

    None unless the file holds enough vectors of the same weights, data and loss to the usual tolerance.
    """
    sidecar = paths.beside(output, paths.EIGENVECTORS)
    if "eig" not in stored or not sidecar.exists():
        return None
    attributes = stored["eig"].attributes
    parts = json.loads(str(attributes.get("fingerprint_parts", "{}")))
    same = all(parts.get(key) == value for key, value in objective.identity().items())
    enough = parts.get("k", 0) >= count and parts.get("tol", 1.0) <= Eig().tol
    wanted = parts.get("operator") == "hessian" and parts.get("which") == "largest" and enough
    try:
        arrays, about = load_arrays(sidecar, "sidecar")
    except OutputError:
        return None
    fits = about.get("fingerprint") == attributes.get("fingerprint") and attributes.get("status") == "complete"
    if not (same and wanted and fits):
        return None
    rows = [arrays[name][:count].reshape(count, -1) for name in objective.space.names]
    vectors = _orient(np.concatenate(rows, axis=1).T)
    return {"vectors": vectors, "source": np.frombuffer(sidecar.name.encode(), dtype=np.uint8)}


def _orient(vectors: np.ndarray) -> np.ndarray:
    """Each column with the sign that makes its largest entry positive: the sign of an eigenvector is arbitrary."""
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    oriented: np.ndarray = vectors * np.where(largest < 0, -1, 1)
    return oriented
