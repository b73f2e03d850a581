"""Eigenvectors from an earlier result, if they fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Eig, Objective, Surface, session
from landscape.storage.read import read_results

Data = tuple[Tensor, Tensor]


def test_stored_eigenvectors_are_used_if_they_fit(tmp_path: Path, classification: Data) -> None:
    output = tmp_path / "run.landscape.h5"
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    plain = landscape.run(Surface(axes="eigen", grid="5"), objective)
    assert not any("eigenvectors" in note for note in plain.notes)
    landscape.run(Eig(k=3, save_vectors=True, tol=1e-5), objective, output=output)
    seen: list[str] = []
    reused = session.execute(
        Surface(axes="eigen", grid="5"), objective, output=output, report=lambda step: seen.append(step.note)
    )
    assert "the eigenvectors are those in run.eig.safetensors" in reused.result.notes
    assert not any("products" in note for note in seen)
    assert np.allclose(reused.result.loss, plain.loss, rtol=1e-3)
    assert set(read_results(output)) == {"eig", "surface"}
    few = tmp_path / "few.landscape.h5"
    landscape.run(Eig(k=1, save_vectors=True), objective, output=few)
    fresh = session.execute(Surface(axes="eigen", grid="5"), objective, output=few)
    assert not any("eigenvectors are those" in note for note in fresh.result.notes)
    other = Objective(tanh_net(), [(classification[0] * 2, classification[1])], "cross_entropy")
    fresh = session.execute(Surface(axes="eigen", grid="5"), other, output=output)
    assert not any("eigenvectors are those" in note for note in fresh.result.notes)


def test_stored_eigenvectors_that_are_rough_are_not_used(tmp_path: Path, classification: Data) -> None:
    objective, output = Objective(tanh_net(), [classification], "cross_entropy"), tmp_path / "run.landscape.h5"
    landscape.run(Eig(k=2, tol=0.5, save_vectors=True), objective, output=output)
    measurement = session.execute(Surface(axes="eigen", grid="3"), objective, output=output)
    assert not any("eigenvectors are those" in note for note in measurement.result.notes)
