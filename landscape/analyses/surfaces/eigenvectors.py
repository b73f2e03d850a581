"""The leading eigenvectors of the Hessian as axes: those that were stored beside an earlier result, or new ones."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

from landscape.analyses.base import Progress, State
from landscape.analyses.eig import Eig
from landscape.errors import NumericalError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from landscape.objective import Objective
    from landscape.storage.read import StoredResult


def compute_eigenvectors(
    objective: Objective, count: int, seed: int, saved: State
) -> Generator[Progress, None, np.ndarray]:
    """Unit eigenvectors `(P, count)` of the largest eigenvalues; raises NumericalError if they do not converge."""
    if "vectors" in saved:
        return saved["vectors"]
    result = yield from Eig(k=count, seed=seed).measure(objective, saved or None)
    if trouble := result.trouble():
        raise NumericalError(f"the eigenvectors are not known: {trouble}", fix="--axes random, or --dtype float64")
    assert result.vectors is not None
    vectors = _signed(result.vectors)
    yield Progress(count, count, "eigenvectors", lambda: {"vectors": vectors})
    return vectors


def load_stored_eigenvectors(
    objective: Objective, stored: Mapping[str, StoredResult], output: Path, count: int
) -> np.ndarray | None:
    """Those that `eig --save-vectors` left beside `output` for the same weights, data and loss, if there are any."""
    import numpy as np

    from landscape.storage import paths
    from landscape.storage.array_files import load_arrays

    sidecar = paths.beside(output, paths.EIGENVECTORS)
    if "eig" not in stored or not sidecar.exists():
        return None
    attributes = stored["eig"].attributes
    parts = json.loads(str(attributes.get("fingerprint_parts", "{}")))
    same = all(parts.get(key) == value for key, value in objective.identity().items())
    enough = parts.get("k", 0) >= count and parts.get("tol", 1.0) <= Eig().tol
    wanted = parts.get("operator") == "hessian" and parts.get("which") == "largest" and enough
    try:
        arrays, about = load_arrays(sidecar)
    except OutputError:
        return None
    fits = about.get("fingerprint") == attributes.get("fingerprint") and attributes.get("status") == "complete"
    if not (same and wanted and fits):
        return None
    objective.notes.append(f"the eigenvectors are those in {sidecar.name}")
    rows = [arrays[name][:count].reshape(count, -1) for name in objective.space.names]
    return _signed(np.concatenate(rows, axis=1).T)


def _signed(vectors: np.ndarray) -> np.ndarray:
    """Each column with the sign that makes its largest entry positive: eigenvectors have none of their own."""
    import numpy as np

    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    signed: np.ndarray = vectors * np.where(largest < 0, -1, 1)
    return signed
