"""Scores of single samples, and how well each score separates the memorized samples from the others."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.estimators.ranking import auroc
from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.setup import CurvatureSetup
from landscape.choices import MEMORIZED
from landscape.evaluation import fisher_labels
from landscape.evaluation.other_checkpoints import Trajectory, find_trajectory, other_checkpoint
from landscape.evaluation.per_sample import scores as sample_scores
from landscape.evaluation.per_sample.input_curvature import input_curvature
from landscape.evaluation.populations import sample_digests, single_samples
from landscape.objective import Objective
from landscape.objective.model_function import Theta

MAX_RANKED = 20  # samples in the printed table
REQUIRED_SCORES = ("loss", "edit_damage")  # stored even if all samples lack a target, which a remark then says
STORED_NAMES = {"loss": "sample_loss"}  # the result's `loss` is a scalar

Job = Callable[[Objective], Tensor]  # scores `(N,)` or `(N, 2)` of the samples of an objective


@dataclass(frozen=True)
class ScoredSamples:
    """The objectives whose samples are scored, in order, and which of these samples `(N,)` are memorized, if known."""

    objectives: tuple[Objective, ...]
    memorized: np.ndarray | None


@dataclass(frozen=True)
class SampleScores:
    """Columns over samples, scores and ranks, and sentences about how they were measured."""

    columns: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def score_samples(
    objective: Objective,
    setup: CurvatureSetup,
    edited: Theta,
    trajectory: str | None,
    seed: int,
    saved: State,
) -> Generator[Progress, None, SampleScores]:
    """Scores every sample: by its own loss and curvature, and by the effect of an edit to the theta `edited`.

    With a trajectory, some scores are also averaged over its checkpoints.
    """
    scored = samples_to_score(objective, setup.populations.get(MEMORIZED))
    jobs: dict[str, Job] = {"edit": lambda one: sample_scores.edit_effects(one, edited)}
    jobs |= _jobs_at(objective.theta, setup, "own", seed)
    steps = find_trajectory(trajectory) if trajectory else Trajectory(())
    for number, path in enumerate(steps.checkpoints):
        theta = other_checkpoint(objective, path, "--trajectory").theta
        jobs |= _jobs_at(theta, setup, f"step {number}", seed)
    arrays: dict[str, np.ndarray] = dict(saved)
    for done, (name, job) in enumerate(jobs.items(), start=1):
        if name not in arrays:
            arrays[name] = np.concatenate([job(one).cpu().numpy() for one in scored.objectives])
            yield Progress(done, len(jobs), f"scores, {name}", partial(dict, dict(arrays)))
    columns = score_columns(arrays, len(steps.checkpoints), scored.memorized)
    return SampleScores(columns, (steps.note,) if steps.note else ())


def samples_to_score(objective: Objective, memorized: Objective | None) -> ScoredSamples:
    """The samples of the data, followed by the memorized ones that the data do not contain."""
    if memorized is None:
        return ScoredSamples((objective,), None)
    own, wanted = sample_digests(objective), sample_digests(memorized)
    inside = np.isin(own, wanted)
    contained = set(own)
    lacking = [one for one, digest in zip(single_samples(memorized), wanted, strict=True) if digest not in contained]
    if not lacking:
        return ScoredSamples((objective,), inside)
    return ScoredSamples(
        (objective, memorized.with_data(lacking)), np.concatenate([inside, np.ones(len(lacking), bool)])
    )


def _jobs_at(theta: Tensor, setup: CurvatureSetup, prefix: str, seed: int) -> dict[str, Job]:
    """The scores of the samples at one theta, by `prefix` and name."""
    labels = fisher_labels.model_labels(setup.factored, setup.factor_settings.labels)
    factor_settings = replace(setup.factor_settings, labels=labels)
    return {
        f"{prefix} loss": lambda one: sample_scores.mean_losses(one, theta),
        f"{prefix} squares": lambda one: sample_scores.gradient_squares(one, setup.layers, factor_settings, theta),
        f"{prefix} input_curvature": lambda one: input_curvature(one, theta, seed),
    }


def score_columns(arrays: Mapping[str, np.ndarray], steps: int, memorized: np.ndarray | None) -> dict[str, Any]:
    """Columns over samples, scores and ranks from the arrays of all jobs, with `steps` checkpoints of a trajectory.

    A score that no sample has is left out.
    """
    scores = {
        "loss": arrays["own loss"],
        "edit_damage": arrays["edit"][:, 0],
        "edit_kl": arrays["edit"][:, 1],
        "input_curvature": arrays["own input_curvature"],
        "fisher_trace": arrays["own squares"][:, 1],
        "gradient_norm2": arrays["own squares"][:, 0],
    }
    if steps:
        for score, job in (("loss", "loss"), ("input_curvature", "input_curvature"), ("gradient_norm2", "squares")):
            every = [arrays[f"step {number} {job}"] for number in range(steps)]
            scores[f"trajectory_{score}"] = np.mean([one if one.ndim == 1 else one[:, 0] for one in every], axis=0)
    scores = {n: values for n, values in scores.items() if n in REQUIRED_SCORES or not np.isnan(values).all()}
    columns: dict[str, Any] = {STORED_NAMES.get(name, name): values for name, values in scores.items()}
    columns |= {"sample": np.arange(len(scores["loss"])), "checkpoints": steps or None}
    columns |= _ranking(scores, memorized)
    return columns if memorized is None else columns | _separation(scores, memorized)


def _ranking(scores: Mapping[str, np.ndarray], memorized: np.ndarray | None) -> dict[str, Any]:
    """The samples with the largest edit damage, in descending order."""
    order = np.argsort(-scores["edit_damage"], kind="stable")[:MAX_RANKED]
    marks = {} if memorized is None else {"is_memorised": memorized[order]}
    return {
        **marks,
        "rank": np.arange(1, len(order) + 1),
        "rank_sample": order,
        "rank_edit_damage": scores["edit_damage"][order],
        "rank_edit_kl": scores["edit_kl"][order] if "edit_kl" in scores else np.full(len(order), np.nan),
        "rank_loss": scores["loss"][order],
    }


def _separation(scores: Mapping[str, np.ndarray], memorized: np.ndarray) -> dict[str, Any]:
    """The AUROC of each score for memorized samples with its standard error, and the medians of both kinds."""
    counted = ~np.isnan(scores["loss"])  # the other samples have no target that counts
    areas = [auroc(values[counted], memorized[counted]) for values in scores.values()]

    def medians(mask: np.ndarray) -> np.ndarray:
        return np.array([np.median(values[mask]) if mask.any() else np.nan for values in scores.values()])

    return {
        "sample_memorised": memorized,
        "score": np.array(list(scores)),
        "auroc": np.array([value for value, _ in areas]),
        "auroc_se": np.array([error for _, error in areas]),
        "score_memorised": medians(memorized & counted),
        "score_other": medians(~memorized & counted),
    }
