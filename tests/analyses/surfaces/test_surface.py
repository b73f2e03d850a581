"""The options of surfaces: the contract of an analysis, contradictions, and the identity of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Surface, session
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.errors import CheckpointError, Interrupted, UsageError
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Sweep

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


class TestPlane(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="7x5")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestSeveralAdaptiveLines(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="33", dim=1, seeds=3, adaptive=True, normalize="layer", ignore=("none",))

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestEigenvectors(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(axes="eigen", grid="5")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


class TestWithATrial(AnalysisContract):
    """Enough points for a trial, whose timings must not decide here."""

    @pytest.fixture
    def analysis(self) -> Surface:
        return Surface(grid="15")

    @pytest.fixture
    def objective(self, classification: Data, monkeypatch: pytest.MonkeyPatch) -> Objective:
        monkeypatch.setattr(Sweep, "choose_settings", lambda self, plane: self.use_settings(PassSettings(7)))
        return Objective(tanh_net(), [classification], "cross_entropy")


# -- closed forms ----------------------------------------------------------------------------------------------------


# -- symmetries ------------------------------------------------------------------------------------------------------


# -- between checkpoints ---------------------------------------------------------------------------------------------


# -- what is said and kept -------------------------------------------------------------------------------------------


def test_another_end_is_another_run(tmp_path: Path, classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    for name, scale in (("b", 1.5), ("c", 2.0)):
        torch.save(objective.space.unflatten(objective.theta * scale), tmp_path / f"{name}.pt")
    output = tmp_path / "run.landscape.h5"
    with pytest.raises(Interrupted):
        session.execute(
            Surface(towards=str(tmp_path / "b.pt")), objective, output=output, stop=session.StopSignals(requested=2)
        )
    with pytest.raises(UsageError, match="others: "):
        session.execute(Surface(towards=str(tmp_path / "c.pt")), objective, output=output)


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, classification: Data) -> None:
    for options, message in [
        ({"grid": "0"}, "--grid is '0'"),
        ({"grid": "5x"}, "--grid"),
        ({"grid": "5x5x5"}, "--grid"),
        ({"range": "1:2"}, "lies at 0"),
        ({"range": "nan"}, "--range"),
        ({"range": "a"}, "--range"),
        ({"range": "1e300"}, "--range"),
        ({"level": "nan"}, "--level"),
        ({"level": ("0.5", "x")}, "--level"),
        ({"axes": "random", "towards": "b.pt"}, "--towards leads between checkpoints"),
        ({"axes": "eigen", "trajectory": "run"}, "--trajectory has axes of its own"),
        ({"dim": 1, "grid": "5x5"}, "--dim 1 has one axis"),
        ({"towards": "b.pt", "normalize": "filter"}, "checkpoints are where they are"),
        ({"axes": "eigen", "seeds": 2}, "--seeds draws random directions"),
        ({"align": True}, "--axes checkpoints, or --towards B"),
        ({"batch_norm": "interpolate"}, "needs checkpoints to lie between"),
        ({"towards": ("a", "b", "c")}, "one checkpoint, or two"),
        ({"axes": "sideways"}, "--axes is 'sideways'"),
    ]:
        with pytest.raises(UsageError, match=message):
            Surface(**options)
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match="none is named"):
        measured(objective, axes="checkpoints")
    with pytest.raises(UsageError, match="--trajectory FOLDER"):
        measured(objective, axes="trajectory")
    with pytest.raises(UsageError, match="not a folder"):
        measured(objective, trajectory=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="holds 0 checkpoints"):
        measured(objective, trajectory=str(tmp_path))
    torch.save({"w": torch.zeros(3)}, tmp_path / "alien.pt")
    with pytest.raises(CheckpointError, match="does not fit the model that is measured"):
        measured(objective, towards=str(tmp_path / "alien.pt"))
    torch.save(tanh_net().state_dict(), tmp_path / "same.pt")
    with pytest.raises(UsageError, match="--grid or --range name two"):
        measured(objective, towards=str(tmp_path / "same.pt"), grid="5x5")
    torch.save(tanh_net().state_dict(), tmp_path / "also.pt")
    (tmp_path / "alien.pt").unlink()
    with pytest.raises(UsageError, match="span no plane"):
        measured(objective, trajectory=str(tmp_path))


def test_numbers_of_numpy_are_numbers(classification: Data) -> None:
    options: dict[str, Any] = {
        "grid": np.array([5, 3]),
        "seeds": np.int64(2),
        "tol": np.float32(0.5),
        "level": np.array(1.5),
    }
    analysis = Surface(**options, adaptive=np.bool_(True), range=np.array([-0.5, 1]))  # type: ignore[arg-type]
    assert analysis.identity()["seeds"] == 2
    assert analysis.settings.grid == "5x3"
    assert analysis.settings.range == "-0.5:1.0"
    assert analysis.settings.level == (1.5,)
    result = landscape.run(analysis, Objective(tanh_net(), [classification], "cross_entropy"))
    assert result.loss.shape == (2, 3, 5)
    assert Surface(level="2,3").settings.level == (2.0, 3.0)  # type: ignore[arg-type]
