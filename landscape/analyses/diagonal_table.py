"""What a diagonal is summed up in: the numbers of all entries and of layers, the curve, the mask, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import stdtrit

from landscape.algorithms.estimators.diagonal.state import relative_norm
from landscape.analyses.shared.data_error import parse_share
from landscape.analyses.shared.per_layer import layer_table
from landscape.choices import CONFIDENCE, NORMAL_HALF_WIDTH
from landscape.storage.paths import DIAGONAL, DIAGONAL_ERRORS, DIAGONAL_MASK

if TYPE_CHECKING:
    from landscape.analyses.diagonal import Diagonal, DiagonalResult
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

POINTS = 200  # of the curve of sorted entries
ROUNDING_EPSILONS = 100  # of an entry: what sums over samples in the precision of the weights round


@dataclass(frozen=True)
class DiagonalEstimate:
    """The entries and their variances `(P,)`, float64, the variances of sums over groups, and the work.

    `group_variance` has an entry for each group of the table, and a last one for all parameters; it is empty where all
    entries are exact. `probes` are the random vectors behind the variances, 0 where each sample has draws of its own.
    """

    diagonal: np.ndarray
    variance: np.ndarray
    group_variance: np.ndarray
    probes: int = 0
    products: int = 0
    draws: int = 0
    gradients: float = 0.0
    known_trace: float | None = None

    @property
    def half_widths(self) -> float:
        """Half the width of an entry's 95 % interval in standard errors: Student's t of few probes."""
        return float(stdtrit(self.probes - 1, (1 + CONFIDENCE) / 2)) if self.probes > 1 else NORMAL_HALF_WIDTH


def summarize(
    analysis: Diagonal, estimate: DiagonalEstimate, objective: Objective, groups: Sequence[ParameterGroup]
) -> dict[str, Any]:
    """The fields of the result but for those of the reference point."""
    entries, errors = estimate.diagonal, np.sqrt(estimate.variance)
    spread = estimate.group_variance if len(estimate.group_variance) else np.zeros(len(groups) + 1)
    error, square = float(estimate.variance.sum()), float((entries**2).sum())
    finite = bool(np.isfinite(entries).all())
    margin = np.hypot(estimate.half_widths * errors, _rounding(objective) * entries)
    negative = entries < -margin
    mask, top = _choose(analysis, entries, margin) if finite else (None, {})
    return {
        "trace": float(entries.sum()),
        "trace_se": float(np.sqrt(spread[-1])),
        "norm": float(np.sqrt(max(square - error, 0.0))) if finite else float("nan"),
        "relative_error": relative_norm(error, square - error) if finite else float("nan"),
        "largest": float(entries.max()),
        "smallest": float(entries.min()),
        "negative_share": float(negative.mean()),
        **_curve(entries, errors),
        **_layers(estimate, groups, spread[:-1], negative, mask),
        **top,
        "diagonal": entries,
        "standard_errors": errors,
        "mask": mask,
    }


def sidecars(result: DiagonalResult, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
    """The arrays by parameter, in the parameter's shape and in the precision of the measurement, by suffix."""
    files: dict[str, dict[str, np.ndarray]] = {}
    pairs = ((DIAGONAL, result.diagonal), (DIAGONAL_ERRORS, result.standard_errors), (DIAGONAL_MASK, result.mask))
    for suffix, values in pairs:
        if values is not None:
            whole = torch.from_numpy(values)
            whole = whole if whole.dtype == torch.bool else whole.to(objective.dtype)
            files[suffix] = {name: part.numpy() for name, part in objective.space.unflatten(whole).items()}
    return files


def _rounding(objective: Objective) -> float:
    """The rounding of an entry, relative to it."""
    return ROUNDING_EPSILONS * torch.finfo(objective.dtype).eps


def _choose(analysis: Diagonal, entries: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray | None, dict[str, Any]]:
    """The mask `(P,)` of the entries of largest |entry|, the first of equal ones, and how certain the choice is.

    The threshold lies midway between the last chosen |entry| and the next. An entry is separated from it if its
    distance is more than `margin`, half its 95 % interval.
    """
    if analysis.top is None:
        return None, {}
    count = min(max(1, round(parse_share(analysis.top) * len(entries))), len(entries))
    sizes = np.abs(entries)
    order = np.argsort(-sizes, kind="stable")
    mask = np.zeros(len(entries), dtype=bool)
    mask[order[:count]] = True
    following = sizes[order[count]] if count < len(entries) else 0.0
    threshold = (sizes[order[count - 1]] + following) / 2
    separated = np.abs(sizes - threshold) > margin
    return mask, {
        "top_share": count / len(entries),
        "top_count": count,
        "top_threshold": float(threshold),
        "top_separated": int((separated & mask).sum()),
        "top_undecided": int((~separated & ~mask).sum()),
    }


def _curve(entries: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
    """Sorted |entries| at ranks that are evenly spaced on a logarithmic axis, with their standard errors."""
    ranks = np.unique(np.geomspace(1, len(entries), POINTS).round().astype(int)) - 1
    order = np.argsort(-np.abs(entries), kind="stable")[ranks]
    return {
        "curve_share": (ranks + 1) / len(entries),
        "curve_value": np.abs(entries)[order],
        "curve_standard_error": errors[order],
    }


def _layers(
    estimate: DiagonalEstimate,
    groups: Sequence[ParameterGroup],
    spread: np.ndarray,
    negative: np.ndarray,
    mask: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The columns of the table of layers, largest trace first."""

    def by_group(values: np.ndarray, what: Any) -> np.ndarray:
        """A number of each group's part of an array `(P,)`."""
        parts = [np.concatenate([values[begin:end] for begin, end in group.ranges]) for group in groups]
        return np.array([what(part) for part in parts])

    traces, squares = by_group(estimate.diagonal, np.sum), by_group(estimate.diagonal**2, np.sum)
    errors = by_group(estimate.variance, np.sum)
    columns = {
        "trace": traces,
        "trace_se": np.sqrt(spread),
        "mean": by_group(estimate.diagonal, np.mean),
        "largest": by_group(np.abs(estimate.diagonal), np.max),
        "negative": by_group(negative, np.mean),
        "error": np.array([relative_norm(e, s - e) for e, s in zip(errors, squares, strict=True)]),
    }
    if mask is None:
        return layer_table(groups, traces, columns)
    table = layer_table(groups, traces, {**columns, "top": by_group(mask, np.mean)})
    shares = table.pop("layer_top")
    return {**table, "top_in_layer": shares}
