"""Scores of samples, their averages over a trajectory, and how well they separate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from memorized import fit_net, memorization_of, random_texts
from torch import Tensor

import landscape
from landscape import Objective
from landscape.analyses.memorization.scoring import samples_to_score, score_columns
from landscape.evaluation.per_sample import outcomes
from landscape.evaluation.populations import populations

Data = tuple[Tensor, Tensor]


def test_memorized_samples_that_the_data_lack_are_scored_behind_them() -> None:
    found = memorization_of(random_texts(), per_layer=False)
    assert found.sample_memorised is not None
    assert found.sample_memorised.tolist() == [False] * 10 + [True] * 4
    assert found.recitation is not None


def test_a_trajectory_averages_the_scores() -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    last = sorted(folder.glob("*.pt"))[-1]
    objective = landscape.load(last, limit=40)
    found = memorization_of(objective, trajectory=str(folder), per_layer=False)
    assert found.checkpoints == 10
    losses = [
        outcomes.sample_outcomes(landscape.load(path, limit=40)).means.numpy() for path in sorted(folder.glob("*.pt"))
    ]
    assert np.allclose(found.trajectory_loss, np.mean(losses, axis=0), rtol=1e-5)


def test_samples_without_a_target_are_left_out_of_the_aurocs(classification: Data) -> None:
    x, y = classification
    ignored = y.clone()
    ignored[10] = -100
    objective = fit_net(classification)
    objective = Objective(
        objective.model, (x[:16], ignored[:16]), "cross_entropy", populations={"memorized": (x[:6], y[:6])}
    )
    found = memorization_of(objective)
    assert found.auroc is not None
    assert np.isfinite(found.auroc).all()
    assert "1 samples have no target that counts, and no scores" in found.remarks()


def test_a_folder_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.chdir(tmp_path)
    shutil.copytree(SAMPLES / "digits-mlp-trajectory", "own run")
    objective = landscape.load(sorted(Path("own run").glob("*.pt"))[-1], limit=20)
    found = memorization_of(objective, trajectory="own run", per_layer=False)
    assert found.trajectory_loss is not None


def test_memorized_samples_are_scored_once_whether_the_data_hold_them_or_not(classification: Data) -> None:
    x, y = classification
    objective = fit_net(classification)
    objective.populations = {"memorized": (x[12:20], y[12:20])}  # four of them in the data
    found = memorization_of(objective)
    assert found.sample_memorised is not None
    assert found.sample_memorised.tolist() == [False] * 12 + [True] * 4 + [True] * 4
    alone = outcomes.sample_outcomes(Objective(objective.model, (x[16:20], y[16:20]), "cross_entropy")).means
    assert np.allclose(found.sample_loss[16:], alone, rtol=1e-6)


def test_medians_and_trajectories_are_those_of_their_kind(classification: Data) -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    paths = sorted(folder.glob("*.pt"))
    objective = landscape.load(paths[-1], limit=30)
    batch = next(iter(objective.batches))
    objective.populations = {"memorized": (batch.inputs[:5], batch.targets[:5])}
    found = memorization_of(objective, trajectory=str(folder), per_layer=False)
    names = list(found.score)
    assert found.score_other[names.index("loss")] == pytest.approx(np.median(found.sample_loss[5:]))
    assert found.score_memorised[names.index("loss")] == pytest.approx(np.median(found.sample_loss[:5]))
    own = [
        memorization_of(landscape.load(path, limit=30), per_layer=False, controls=0).gradient_norm2 for path in paths
    ]
    assert np.allclose(found.trajectory_gradient_norm2, np.mean(own, axis=0), rtol=1e-3)


class TestColumnsOfDesignedScores:
    @pytest.fixture
    def arrays(self) -> dict[str, np.ndarray]:
        """Four samples; the last two are memorized, and the edit damages them most."""
        return {
            "edit": np.array([[0.1, 0.2], [0.2, 0.1], [0.9, 0.8], [0.8, 0.9]]),
            "own loss": np.array([1.0, 4.0, 2.0, 3.0]),
            "own squares": np.array([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan], [4.0, np.nan]]),
            "own input_curvature": np.full(4, np.nan),
        }

    def test_a_score_that_no_sample_has_is_left_out(self, arrays: dict[str, np.ndarray]) -> None:
        columns = score_columns(arrays, 0, None)
        assert {"sample_loss", "edit_damage", "edit_kl", "gradient_norm2"} <= columns.keys()
        assert "input_curvature" not in columns
        assert "fisher_trace" not in columns
        assert "auroc" not in columns
        assert columns["checkpoints"] is None

    def test_ranks_descend_by_edit_damage(self, arrays: dict[str, np.ndarray]) -> None:
        columns = score_columns(arrays, 0, np.array([False, False, True, True]))
        assert columns["rank"].tolist() == [1, 2, 3, 4]
        assert columns["rank_sample"].tolist() == [2, 3, 1, 0]
        assert columns["is_memorised"].tolist() == [True, True, False, False]
        assert columns["rank_edit_damage"].tolist() == [0.9, 0.8, 0.2, 0.1]
        assert columns["rank_loss"].tolist() == [2, 3, 4, 1]

    def test_the_auroc_is_the_share_of_pairs_in_order(self, arrays: dict[str, np.ndarray]) -> None:
        columns = score_columns(arrays, 0, np.array([False, False, True, True]))
        areas = dict(zip(columns["score"], columns["auroc"], strict=True))
        assert areas["edit_damage"] == areas["edit_kl"] == areas["gradient_norm2"] == 1
        assert areas["loss"] == 2 / 4  # of the pairs (2, 1), (2, 4), (3, 1), (3, 4) two are in order
        medians = dict(zip(columns["score"], columns["score_memorised"], strict=True))
        assert medians["loss"] == 2.5

    def test_samples_without_a_loss_are_in_no_median_and_no_auroc(self, arrays: dict[str, np.ndarray]) -> None:
        arrays["own loss"][1] = np.nan
        columns = score_columns(arrays, 0, np.array([False, False, True, True]))
        others = dict(zip(columns["score"], columns["score_other"], strict=True))
        assert others["loss"] == 1
        assert others["edit_damage"] == 0.1
        assert dict(zip(columns["score"], columns["auroc"], strict=True))["loss"] == 1

    def test_a_trajectory_s_scores_are_means_over_its_steps(self, arrays: dict[str, np.ndarray]) -> None:
        for number in range(2):
            arrays[f"step {number} loss"] = np.arange(4.0) + number
            arrays[f"step {number} squares"] = np.stack([np.arange(4.0) * (number + 1), np.zeros(4)], axis=1)
            arrays[f"step {number} input_curvature"] = np.full(4, float(number))
        columns = score_columns(arrays, 2, None)
        assert columns["checkpoints"] == 2
        assert columns["trajectory_loss"].tolist() == [0.5, 1.5, 2.5, 3.5]
        assert columns["trajectory_gradient_norm2"].tolist() == [0, 1.5, 3, 4.5]
        assert columns["trajectory_input_curvature"].tolist() == [0.5, 0.5, 0.5, 0.5]


def test_without_a_memorized_population_only_the_data_are_scored(classification: Data) -> None:
    objective = fit_net(classification)
    scored = samples_to_score(objective, None)
    assert scored.objectives == (objective,)
    assert scored.memorized is None


def test_memorized_samples_inside_the_data_are_marked_and_not_repeated(classification: Data) -> None:
    objective = fit_net(classification)
    scored = samples_to_score(objective, populations(objective)["memorized"])
    assert scored.objectives == (objective,)
    assert scored.memorized is not None
    assert scored.memorized.tolist() == [True] * 6 + [False] * 10
