"""The error of a mean over samples from the choice of the samples: the delete-a-group jackknife, and the bootstrap."""

from __future__ import annotations

import numpy as np

from landscape.choices import CONFIDENCE, NORMAL_HALF_WIDTH


def group_ends(samples: int, groups: int) -> list[int]:
    """The positions that cut the samples into groups of consecutive ones, as equal as possible."""
    return [samples * group // groups for group in range(1, groups)]


def standard_errors(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The standard error `(K,)` of each ratio sum_g sums / sum_g counts, for sums `(G, K)` and counts `(G,)` of groups.

    The linearized jackknife (Shao and Tu 1995, section 2.1), which treats groups as independent draws. NaN where fewer
    than two groups count anything.
    """
    errors: np.ndarray = np.sqrt(_factor(counts) * (_deviations(sums, counts) ** 2).sum(axis=0))
    return errors


def data_standard_error(sums: np.ndarray, counts: np.ndarray) -> float:
    """The standard error over groups of samples of the mean of K ratios, each of which belongs to one random probe.

    The variance that the probes alone contribute is subtracted, so that the result is the limit of many probes. NaN if
    nothing is left: the part of the data cannot be separated from that of the probes.
    """
    square, _ = _square_of_data(sums, counts)
    return float(np.sqrt(_factor(counts) * square)) if square >= 0 else float("nan")


def largest_data_standard_error(sums: np.ndarray, counts: np.ndarray) -> float:
    """The same standard error; where the probes hide it, the largest that they leave possible (97.5 %)."""
    square, uncertainty = _square_of_data(sums, counts)
    if square <= uncertainty:
        square = max(square, 0.0) + NORMAL_HALF_WIDTH * uncertainty
    return float(np.sqrt(_factor(counts) * square))


def _square_of_data(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The squared norm of the groups' deviations over all probes, without bias, and its standard error.

    With the mean m `(G,)` of K probes of covariance C it is |m|^2 - tr C / K, of variance 4 m'Cm / K + 2 tr(C^2) / K^2.
    Where few distinct samples make all groups deviate in one direction, all of it hangs on the probes along that one.
    """
    deviations, probes = _deviations(sums, counts), sums.shape[1]
    mean = deviations.mean(axis=1)
    centered = deviations - mean[:, None]
    gram = centered.T @ centered / (probes - 1)
    along = ((mean @ centered) ** 2).sum() / (probes - 1)
    square = float((mean**2).sum() - np.trace(gram) / probes)
    return square, float(np.sqrt(4 * along / probes + 2 * (gram**2).sum() / probes**2))


def _deviations(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    deviations: np.ndarray = sums - np.outer(counts, sums.sum(axis=0) / counts.sum())
    return deviations


def _factor(counts: np.ndarray) -> float:
    groups = int((counts != 0).sum())
    return float(groups / (groups - 1) / counts.sum() ** 2) if groups > 1 else float("nan")


def bootstrap(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The ends `(2, K)` of the 95 % intervals of sum sums / sum counts, over samples drawn with replacement.

    They are quantiles (Efron and Tibshirani 1993, section 13.3). `sums` `(N, K)` and `counts` `(N,)` are those of the
    samples.
    """
    random = np.random.RandomState(seed % 2**32)  # a frozen stream (NEP 19)
    ratios = np.empty((resamples, sums.shape[1]))
    for index in range(resamples):
        times = np.bincount(random.randint(0, len(counts), len(counts)), minlength=len(counts))
        ratios[index] = times @ sums / max(times @ counts, 1e-300)
    quantiles: np.ndarray = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return quantiles
