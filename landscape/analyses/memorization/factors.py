"""The Kronecker factors of the layers: measured over the data, and kept in a sidecar for the next analysis."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.kronecker import KroneckerAnalysis
from landscape.analyses.memorization.setup import CurvatureSetup, curvature_setup
from landscape.analyses.shared.phases import prefix_state
from landscape.errors import OutputError
from landscape.evaluation.layers.kfac import Factor, assemble_factors, input_leader, stream_factors
from landscape.evaluation.layers.tensor_store import TensorStore
from landscape.objective import Objective
from landscape.storage import paths
from landscape.storage.array_files import load_arrays

PHASE = "factors"
SOURCE = "source"  # the entry of a state that holds the name of the sidecar from which its sums were read
LOSS_RTOL = 1e-4  # another model of the same weights shows in its loss; the same model's loss repeats to rounding


@dataclass(frozen=True)
class MeasuredFactors:
    """The factors by layer, the arrays of the sidecar, and the sidecar's name if they were read from one.

    `leaders` is by layer the one whose A it shares: an earlier layer with the same input, or the layer itself.
    """

    by_layer: Mapping[str, Factor]
    leaders: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]
    source: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence that names the sidecar, if the factors were read from one."""
        return (f"the factors are those in {self.source}",) if self.source else ()


def measure_factors(setup: CurvatureSetup, saved: State) -> Generator[Progress, None, MeasuredFactors]:
    """Adds up the factors over the data, part by part; resumes from the sums in `saved`."""
    arrays = dict(saved)
    source = arrays.pop(SOURCE, np.empty(0, np.uint8)).tobytes().decode()
    sums = TensorStore.beside(setup.factored)
    for done, total, _ in stream_factors(setup.factored, setup.layers, setup.factor_settings, arrays, sums):
        source = ""  # the sums of the sidecar are incomplete
        yield Progress(done, total, "factors", sums.arrays)
    identity = np.frombuffer(bytes.fromhex(setup.identity), np.uint8)
    loss = np.array(float(setup.factored.value()))
    stored = {**sums.arrays(), "identity": identity, "loss": loss}
    leaders = {layer.name: input_leader(setup.layers, sums, layer.name) for layer in setup.layers}
    return MeasuredFactors(assemble_factors(setup.layers, sums), leaders, stored, source)


def read_factors(analysis: KroneckerAnalysis, objective: Objective, output: Path) -> dict[str, np.ndarray] | None:
    """A state with the factors in the sidecar of `output`; None without one, or if it is another curvature's."""
    sidecar = paths.beside(output, paths.FACTORS)
    if not sidecar.exists():
        return None
    try:
        arrays, _ = load_arrays(sidecar, "sidecar", held=False)
    except OutputError:
        return None
    identity, loss = arrays.pop("identity", None), arrays.pop("loss", None)
    setup = curvature_setup(analysis, objective)
    if identity is None or loss is None or np.asarray(identity).tobytes().hex() != setup.identity:
        return None
    if not math.isclose(float(np.asarray(loss)), float(setup.factored.value()), rel_tol=LOSS_RTOL):
        return None  # another model of the same weights
    return prefix_state(PHASE, {**arrays, SOURCE: np.frombuffer(sidecar.name.encode(), np.uint8)})
