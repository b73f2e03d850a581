"""Columns of the result: scores by sample and query, and the samples that stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.algorithms.estimators.ranking import auroc
from landscape.analyses.influence.solving import errors_by_movement
from landscape.compute.inner_products import row_norms

if TYPE_CHECKING:
    from landscape.analyses.base import State
    from landscape.analyses.influence.damping import Damping
    from landscape.analyses.influence.gradients import QueryGradients
    from landscape.analyses.influence.influence_measurement import Samples
    from landscape.analyses.influence.self_influence import SelfInfluences
    from landscape.analyses.influence.solving import SolvedQueries


def sample_columns(samples: Samples, products: State) -> dict[str, Any]:
    """The number, the loss and the squared gradient of each training sample."""
    return {
        "sample": np.array(samples.scored.numbers),
        "sample_loss": products["losses"],
        "gradient_norm2": products["values"][:, -1],
    }


def query_columns(
    names: list[str],
    queries: QueryGradients,
    solved: SolvedQueries,
    products: State,
    samples: Samples,
    damping: Damping,
    top: int,
) -> dict[str, Any]:
    """Scores with their errors, what tells about each query's solve, and the most helpful and harmful samples."""
    count, terms = len(names), samples.curved.count
    values = products["values"][:, :-1] / terms
    scores, compared = values[:, :count], values[:, count : 2 * count]
    columns: dict[str, Any] = {
        "query": np.array(names),
        "query_loss": queries.losses,
        "residual": solved.residuals,
        "spread": _root_mean_square(scores),
        "agreement": np.array([rank_correlation(*pair) for pair in zip(scores.T, compared.T, strict=True)]),
        "scores": scores,
    }
    if solved.reductions is not None:
        rests = solved.residuals * row_norms(queries.rows).cpu().numpy()
        bounds = np.sqrt(products["values"][:, -1:]) * rests / (damping.value * terms)
        errors = errors_by_movement(scores - values[:, 2 * count :], solved.reductions, bounds)
        columns |= {
            "iterations": solved.iterations,
            "error": _root_mean_square(errors),
            "error_bound": bounds.max(axis=0),
            "score_errors": errors,
        }
    return columns | _top(scores, np.array(samples.scored.numbers), top)


def _top(scores: np.ndarray, numbers: np.ndarray, top: int) -> dict[str, Any]:
    """The most helpful and harmful samples for the mean of the queries, and for each of them."""
    count = min(top, len(numbers))
    mean = scores.mean(axis=1)
    order, each = np.argsort(-mean, kind="stable"), np.argsort(-scores, axis=0, kind="stable")
    helpful, harmful = order[:count], order[::-1][:count]
    return {
        "top": np.arange(1, count + 1),
        "helpful_sample": numbers[helpful],
        "helpful_score": mean[helpful],
        "harmful_sample": numbers[harmful],
        "harmful_score": mean[harmful],
        "query_helpful": numbers[each[:count]].T,
        "query_harmful": numbers[each[::-1][:count]].T,
    }


def self_columns(
    found: SelfInfluences, products: State, samples: Samples, memorized: np.ndarray | None, top: int
) -> dict[str, Any]:
    """Self-influences, the samples with the largest, and with known memorized samples how well scores find them."""
    values = found.values / samples.curved.count
    order = np.argsort(-values, kind="stable")[: min(top, len(values))]
    columns: dict[str, Any] = {
        "self_influence": values,
        "self_agreement": rank_correlation(found.values, found.compared),
        "self_residual": found.residual,
        "rank": np.arange(1, len(order) + 1),
        "rank_sample": np.array(samples.scored.numbers)[order],
        "rank_self_influence": values[order],
        "rank_loss": products["losses"][order],
    }
    if memorized is None:
        return columns
    named = _scores_of(values, products)
    areas = [auroc(each, memorized) for each in named.values()]
    return columns | {
        "sample_memorized": memorized,
        "is_memorized": memorized[order],
        "score": np.array(list(named)),
        "auroc": np.array([area for area, _ in areas]),
        "auroc_se": np.array([error for _, error in areas]),
    }


def membership_columns(
    found: tuple[SelfInfluences, SelfInfluences], products: tuple[State, State], samples: Samples
) -> dict[str, Any]:
    """Scores of samples that the net was not trained on, and how well they tell these from the training samples.

    Each pair is of the training samples and of the others.
    """
    assert samples.others is not None
    inside, outside = (
        _scores_of(one.values / samples.curved.count, passed) for one, passed in zip(found, products, strict=True)
    )
    is_outside = np.repeat([False, True], [len(samples.scored.numbers), len(samples.others.numbers)])
    areas = [auroc(np.concatenate([inside[name], outside[name]]), is_outside) for name in inside]
    return {
        "self_residual": float(np.max([one.residual for one in found])),  # NaN stays
        "non_member": np.array(samples.others.numbers),
        "non_member_self_influence": outside["self_influence"],
        "non_member_loss": outside["loss"],
        "membership": np.array(list(inside)),
        "membership_auroc": np.array([area for area, _ in areas]),
        "membership_auroc_se": np.array([error for _, error in areas]),
    }


def _scores_of(values: np.ndarray, products: State) -> dict[str, np.ndarray]:
    """The scores of each sample that tell memorized samples and those not trained on from others, by name."""
    return {"self_influence": values, "loss": products["losses"], "gradient_norm2": products["values"][:, -1]}


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's correlation of two lists of scores `(N,)`; NaN if one is constant, or has fewer than two."""
    from scipy.stats import rankdata

    if len(left) < 2 or not (np.ptp(left) > 0 and np.ptp(right) > 0):
        return float("nan")
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def _root_mean_square(columns: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.sqrt((columns**2).mean(axis=0))
    return found
