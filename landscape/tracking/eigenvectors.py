"""Eigenvectors of one checkpoint against those of the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import OutputError
from landscape.history import Quantity
from landscape.storage import paths
from landscape.storage.array_files import load_arrays, save_arrays

COSINES, OVERLAP = "eig.cosines", "eig.overlap"
QUANTITIES = {
    COSINES: Quantity(
        ("eig.rank",), "|v_i . w_i| with the eigenvector w_i of the checkpoint before, at the same rank."
    ),
    OVERLAP: Quantity((), "Mean squared cosine of the angles between the span of the eigenvectors and that before."),
}
VECTORS = "vectors"


@dataclass(frozen=True)
class Eigenvectors:
    """The unit eigenvectors `(P, k)` of a checkpoint."""

    checkpoint: str
    vectors: np.ndarray

    def compare(self, earlier: Eigenvectors) -> dict[str, Any]:
        """The cosines `(k,)` of vectors at the same rank, and the overlap of the spans: 1 if they are the same."""
        if self.vectors.shape != earlier.vectors.shape:
            return {}
        products = self.vectors.T.astype(np.float64) @ earlier.vectors.astype(np.float64)
        count = products.shape[0]
        return {COSINES: np.abs(np.diag(products)), OVERLAP: float((products**2).sum() / count)}

    def save(self, output: Path) -> None:
        """Keeps the vectors beside the history, for a later run that goes on."""
        about = {"fingerprint": self.checkpoint, "analysis": "track"}
        save_arrays(paths.beside(output, paths.EIGENVECTORS), {VECTORS: self.vectors}, about)


def load_vectors(output: Path) -> Eigenvectors | None:
    """The vectors that are kept beside a history; None if there are none that can be read."""
    path = paths.beside(output, paths.EIGENVECTORS)
    try:
        arrays, about = load_arrays(path, "file of eigenvectors") if path.exists() else ({}, {})
    except OutputError:
        return None
    if arrays.keys() != {VECTORS} or arrays[VECTORS].ndim != 2 or "fingerprint" not in about:
        return None
    return Eigenvectors(about["fingerprint"], arrays[VECTORS])
