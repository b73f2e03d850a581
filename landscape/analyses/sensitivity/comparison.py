"""Forecasts beside real changes: gaps with errors, whether forecasts hold, ranks of layers and their correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtrit

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.analyses.sensitivity.forecast import ForecastSums
from landscape.analyses.sensitivity.real_changes import RealSums
from landscape.analyses.sensitivity.sensitivity_result import FEWEST_RANKED, NO, UNCLEAR, YES
from landscape.choices import CONFIDENCE

RESAMPLES = 200  # of the groups of samples: the spread of a correlation to about 5 %


@np.errstate(invalid="ignore")  # infinity is a result, which `inconclusive` names
def compare_layers(forecast: ForecastSums, real: RealSums, counts: np.ndarray, tolerance: float) -> dict[str, Any]:
    """The columns of the table of changes by name, `(C L,)` each: all layers of a kind of change, then the next kind.

    `counts` `(G,)` are the terms of the loss in each group of samples.
    """
    forecasts, reals = _flat(forecast.layers), _flat(real.layers)
    total = counts.sum()
    expected, changes = forecasts.sum(axis=0) / total, reals.sum(axis=0) / total
    gaps = changes - expected
    errors = standard_errors(reals - forecasts, counts)
    layers = real.layers.shape[1]
    return {
        "norm": forecast.norms.T.ravel(),
        "slope": _flat(forecast.slopes).sum(axis=0) / total,
        "curvature": _flat(forecast.curvatures).sum(axis=0) / total,
        "real": changes,
        "real_se": real.layer_errors.T.ravel(),
        "forecast": expected,
        "forecast_se": standard_errors(forecasts, counts),
        "gap": gaps,
        "gap_se": errors,
        "holds": judge_forecasts(changes, expected, errors, tolerance, len(counts)),
        "rank": np.concatenate([ranks(part) for part in np.split(changes, len(changes) // layers)]),
        "forecast_rank": np.concatenate([ranks(part) for part in np.split(expected, len(expected) // layers)]),
    }


@np.errstate(invalid="ignore")
def compare_together(
    forecast: ForecastSums, real: RealSums, counts: np.ndarray, holds: np.ndarray, seed: int
) -> dict[str, Any]:
    """The columns of the table of kinds of changes by name, `(C,)` each; `holds` are the words of `compare_layers`."""
    total, sums = counts.sum(), real.layers.sum(axis=1)
    kinds = sums.shape[1]
    found = [correlation(forecast.layers[:, :, k], real.layers[:, :, k], counts, seed) for k in range(kinds)]
    return {
        "real": real.together.sum(axis=0) / total,
        "real_se": real.joint_errors,
        "forecast": forecast.together.sum(axis=0) / total,
        "forecast_se": standard_errors(forecast.together, counts),
        "sum": sums.sum(axis=0) / total,
        "sum_se": standard_errors(sums, counts),
        "spearman": np.array([value for value, _ in found]),
        "spearman_se": np.array([error for _, error in found]),
        "holds": (holds.reshape(kinds, -1) == YES).mean(axis=1),
    }


def judge_forecasts(
    real: np.ndarray, forecast: np.ndarray, errors: np.ndarray, tolerance: float, groups: int
) -> np.ndarray:
    """Whether each forecast holds: its gap is within the tolerance; else `no` beyond its 95 % interval, or `unclear`.

    The interval is that of Student's t with one degree of freedom less than there are groups of samples.
    """
    gaps, sizes = np.abs(real - forecast), np.maximum(np.abs(real), np.abs(forecast))
    width = stdtrit(groups - 1, (1 + CONFIDENCE) / 2) if groups > 1 else np.inf
    words = np.where(gaps > width * errors, NO, UNCLEAR)
    words = np.where(np.isfinite(gaps), words, NO)
    return np.where(gaps <= tolerance * sizes, YES, words)


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, 1 for the largest; of equal ones the first is the larger, and NaN comes last."""
    order = np.argsort(-values, kind="stable")
    places = np.empty(len(values), dtype=int)
    places[order] = np.arange(1, len(values) + 1)
    return places


def correlation(forecasts: np.ndarray, reals: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    """Spearman's correlation over L layers of sums `(G, L)` over groups, and its spread if groups are drawn anew."""
    if forecasts.shape[1] < FEWEST_RANKED:
        return float("nan"), float("nan")
    value = spearman(forecasts.sum(axis=0), reals.sum(axis=0))
    if len(counts) < 2:
        return value, float("nan")
    random = np.random.RandomState(seed % 2**32)  # a frozen stream (NEP 19)
    found = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.randint(0, len(counts), len(counts)), minlength=len(counts))
        found.append(spearman(times @ forecasts, times @ reals))
    return value, float(np.std(found, ddof=1))


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's correlation of two arrays `(L,)`: that of their ranks, equal values sharing the mean of theirs.

    NaN if all values of one are equal, or one is NaN.
    """
    from scipy.stats import rankdata

    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return float("nan")
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (left, right))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else float("nan")


def _flat(table: np.ndarray) -> np.ndarray:
    """A table `(G, L, C)` as `(G, C L)`, all layers of a kind of change before the next kind."""
    return table.transpose(0, 2, 1).reshape(len(table), -1)
