"""Scores of single samples, and how well they find the memorized ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.factors import Setting, edited
from landscape.choices import MEMORIZED

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective import Objective

RANKED = 20  # samples in the printed table
ALWAYS = ("loss", "edit_damage")  # there even where all are NaN, which is said
FIELDS = {"loss": "sample_loss"}  # a score's field, where it is called otherwise


def scored(
    objective: Objective,
    setting: Setting,
    weights: Mapping[str, Tensor],
    trajectory: str | None,
    seed: int,
    saved: State,
) -> Generator[Progress, None, dict[str, Any]]:
    """Columns over samples, scores and ranks."""
    import numpy as np

    from landscape.evaluation.other_checkpoints import find_trajectory

    sets, memorized = _scored_sets(objective, setting)
    steps: tuple[str, ...] = ()
    if trajectory:
        found = find_trajectory(trajectory)
        steps = found.checkpoints
        objective.notes.extend([found.note] if found.note and found.note not in objective.notes else [])
    jobs: dict[str, Callable[[Objective], Tensor]] = _jobs(objective, setting, weights, seed)
    for number, step in enumerate(steps):
        jobs |= _at(objective, setting, step, f"step {number}", seed)
    kept: dict[str, np.ndarray] = dict(saved)
    for done, (name, job) in enumerate(jobs.items(), start=1):
        if name not in kept:
            kept[name] = np.concatenate([job(one).cpu().numpy() for one in sets])
            yield Progress(done, len(jobs), f"scores, {name}", lambda now=dict(kept): now)  # type: ignore[misc]
    return _columns(kept, len(steps), memorized)


def _jobs(
    objective: Objective, setting: Setting, weights: Mapping[str, Tensor], seed: int
) -> dict[str, Callable[[Objective], Tensor]]:
    from landscape.evaluation.per_sample import scores

    after = edited(objective, weights, setting.layers)
    return {"edit": lambda one: scores.edit_effects(one, after), **_own(setting, objective.theta, "own", seed)}


def _own(setting: Setting, theta: Tensor, prefix: str, seed: int) -> dict[str, Callable[[Objective], Tensor]]:
    from landscape.evaluation import fisher_labels
    from landscape.evaluation.per_sample import scores

    recipe = replace(setting.recipe, labels=fisher_labels.model_labels(setting.factored, setting.recipe.labels))
    return {
        f"{prefix} loss": lambda one: scores.mean_losses(one, theta),
        f"{prefix} squares": lambda one: scores.gradient_squares(one, setting.layers, recipe, theta),
        f"{prefix} input_curvature": lambda one: scores.input_curvature(one, theta, seed),
    }


def _at(
    objective: Objective, setting: Setting, path: str, prefix: str, seed: int
) -> dict[str, Callable[[Objective], Tensor]]:
    from landscape.evaluation.other_checkpoints import other_checkpoint

    theta = other_checkpoint(objective, path, "--trajectory").theta
    return _own(setting, theta, prefix, seed)


def _scored_sets(objective: Objective, setting: Setting) -> tuple[list[Objective], np.ndarray | None]:
    """The data, with the memorized population behind it if it is not in there, and which samples are memorized."""
    import numpy as np

    from landscape.evaluation.populations import sample_digests, single_samples

    known = setting.populations.get(MEMORIZED)
    if known is None:
        return [objective], None
    own, wanted = sample_digests(objective), sample_digests(known)
    inside = np.isin(own, wanted)
    held = set(own)
    lacking = [one for one, digest in zip(single_samples(known), wanted, strict=True) if digest not in held]
    if not lacking:
        return [objective], inside
    return [objective, known.with_data(lacking)], np.concatenate([inside, np.ones(len(lacking), bool)])


def _columns(kept: Mapping[str, np.ndarray], steps: int, memorized: np.ndarray | None) -> dict[str, Any]:
    import numpy as np

    scores = {
        "loss": kept["own loss"],
        "edit_damage": kept["edit"][:, 0],
        "edit_kl": kept["edit"][:, 1],
        "input_curvature": kept["own input_curvature"],
        "fisher_trace": kept["own squares"][:, 1],
        "gradient_norm2": kept["own squares"][:, 0],
    }
    if steps:

        def mean(ending: str, column: int | None = None) -> np.ndarray:
            every = [v for n, v in kept.items() if n.endswith(f" {ending}") and n.startswith("step ")]
            whole: np.ndarray = np.mean([one if column is None else one[:, column] for one in every], axis=0)
            return whole

        scores["trajectory_loss"] = mean("loss")
        scores["trajectory_input_curvature"] = mean("input_curvature")
        scores["trajectory_gradient_norm2"] = mean("squares", 0)
    scores = {name: values for name, values in scores.items() if name in ALWAYS or not np.isnan(values).all()}
    columns: dict[str, Any] = {FIELDS.get(name, name): values for name, values in scores.items()}
    columns |= {"sample": np.arange(len(scores["loss"])), "checkpoints": steps or None}
    columns |= _ranked(scores, memorized)
    return columns if memorized is None else columns | _judged(scores, memorized)


def _ranked(scores: Mapping[str, np.ndarray], memorized: np.ndarray | None) -> dict[str, Any]:
    """The samples with the largest edit damage."""
    import numpy as np

    order = np.argsort(-scores["edit_damage"], kind="stable")[:RANKED]
    nothing = np.full(len(order), np.nan)
    known = {} if memorized is None else {"is_memorised": memorized[order]}
    return {
        **known,
        "rank": np.arange(1, len(order) + 1),
        "rank_sample": order,
        "rank_edit_damage": scores["edit_damage"][order],
        "rank_edit_kl": scores["edit_kl"][order] if "edit_kl" in scores else nothing,
        "rank_loss": scores["loss"][order],
    }


def _judged(scores: Mapping[str, np.ndarray], memorized: np.ndarray) -> dict[str, Any]:
    """How well each score finds the memorized samples."""
    import numpy as np

    from landscape.algorithms.estimators.ranking import auroc

    told = ~np.isnan(scores["loss"])  # others have no target that counts
    found = [auroc(values[told], memorized[told]) for values in scores.values()]

    def medians(mask: np.ndarray) -> np.ndarray:
        return np.array([np.median(values[mask]) if mask.any() else np.nan for values in scores.values()])

    return {
        "sample_memorised": memorized,
        "score": np.array(list(scores)),
        "auroc": np.array([value for value, _ in found]),
        "auroc_se": np.array([error for _, error in found]),
        "score_memorised": medians(memorized & told),
        "score_other": medians(~memorized & told),
    }
