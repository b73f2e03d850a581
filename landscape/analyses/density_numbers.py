"""From quadrature rules to the result of `density`: the smoothed density, its numbers with errors, and the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from landscape.algorithms.lanczos import quadrature
from landscape.algorithms.lanczos.mass_below import mass_below
from landscape.analyses.density import DensityResult
from landscape.analyses.shared.per_layer import layer_table
from landscape.choices import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from landscape.algorithms.lanczos.batched import QuadratureRule
    from landscape.algorithms.lanczos.quadrature import Estimate
    from landscape.analyses.density import Density
    from landscape.network.space import ParameterGroup

GRID_MARGIN = 4  # widths of the kernel beyond the outermost nodes: 1 - 6e-5 of a Gaussian lies within


def density_result(
    analysis: Density,
    rule: QuadratureRule,
    half: QuadratureRule,
    layers: Mapping[ParameterGroup, QuadratureRule],
    floor: float,
    label_standard_error: float | None = None,
    **facts: Any,
) -> DensityResult:
    """The result from the rule of all steps and the rule of half as many, whose difference estimates the error.

    `floor` is the rounding of a node: nodes nearer to zero have no sign. `facts` are the other fields of the result.
    """
    ends = _ends(rule, floor)
    span = ends["lambda_max"] - ends["lambda_min"]
    largest = max(abs(ends["lambda_max"]), abs(ends["lambda_min"]))
    # a spectrum of one repeated value, or of zeros alone, has no width: then the width is relative to the value
    width = analysis.width * (span if span > analysis.width * largest else largest or 1.0)
    low, high = ends["lambda_min"] - GRID_MARGIN * width, ends["lambda_max"] + GRID_MARGIN * width
    grid = np.linspace(low, high, analysis.points)
    density, error = quadrature.smoothed_density(rule, grid, width)
    by_steps = density - quadrature.smoothed_density(half, grid, width)[0]
    by_rounding = np.abs(np.gradient(density, grid)) * floor  # nodes that are off by the rounding
    error = np.sqrt(error**2 + by_steps**2 + by_rounding**2)
    band = confidence_band(density, error, len(rule.nodes), width)
    numbers = _numbers(rule, half, floor)
    values: dict[str, Any] = {name: number.value for name, number in numbers.items()}
    errors: dict[str, Any] = {f"{name}_se": number.error for name, number in numbers.items()}
    if label_standard_error is not None and not np.isnan(label_standard_error):
        errors["trace_se"] = float(np.hypot(errors["trace_se"], label_standard_error))
    return DensityResult(
        label_standard_error=label_standard_error,
        ritz_nodes=rule.nodes,
        ritz_weights=rule.weights,
        width=width,
        grid=grid,
        density=density,
        density_se=error,
        density_band=band,
        **_band_summary(density, band, error, by_steps, 1 / (rule.size * width * np.sqrt(2 * np.pi))),
        **values,
        **errors,
        **ends,
        **_below(analysis, rule, floor),
        **_layers(layers, grid, width, floor),
        **facts,
    )


def confidence_band(density: np.ndarray, error: np.ndarray, probes: int, width: float) -> np.ndarray:
    """Lower and upper end `(2, m)` of the band density * exp(-+ t error / density), which is never negative.

    t is Student's quantile for the number of probes. No density is higher than that of eigenvalues that all lie at one
    point, with Gaussians of this width.
    """
    quantile = float(stdtrit(probes - 1, (1 + CONFIDENCE) / 2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.exp(np.nan_to_num(quantile * error / density))
    highest = 1 / (width * np.sqrt(2 * np.pi))
    return np.stack([density / factor, np.minimum(density * factor, highest)])


def _band_summary(
    density: np.ndarray, band: np.ndarray, error: np.ndarray, by_steps: np.ndarray, single: float
) -> dict[str, Any]:
    """The median factor of the band, and the share of the steps in the squared errors `(m,)`.

    Both are over the points where the density is at least `single`, the peak of one eigenvalue.
    """
    high = density >= min(single, float(density.max()))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors = np.maximum(band[1] / density, density / band[0])[high]
        shares = np.where(error > 0, by_steps**2 / error**2, 0.0)[high]
    return {"band_factor": float(np.median(factors)), "quadrature_share": float(np.median(shares))}


def _numbers(rule: QuadratureRule, half: QuadratureRule, floor: float) -> dict[str, Estimate]:
    """Integrals over the spectrum with their errors, by the name of their field."""
    # polynomials of so low a degree are integrated exactly: trace and norm have no error of the quadrature
    numbers = {
        "trace": _trace(rule, floor),
        "frobenius_norm": quadrature.jackknife(rule, quadrature.frobenius_norm).with_error(
            _relative_rounding(rule, floor) * quadrature.frobenius_norm(rule)
        ),
    }
    for name, estimate, number in (
        ("effective_rank", quadrature.jackknife, quadrature.effective_rank),
        ("k_h1", quadrature.jackknife, quadrature.negative_ratio),
        ("bulk_condition", quadrature.spread, quadrature.bulk_condition),
    ):
        numbers[name] = estimate(rule, number).with_quadrature_error(estimate(half, number))
    negative = quadrature.jackknife(rule, lambda part: quadrature.negative_mass(part, floor))
    undecided = 0.0 if rule.exact else quadrature.negative_mass_uncertainty(rule, floor)
    largest_error = max(negative.value, 1 - negative.value)  # of a share, which lies between 0 and 1
    error = float(min(np.hypot(negative.error, undecided), largest_error))
    numbers["negative_mass"] = quadrature.Estimate(negative.value, error)
    return numbers


def _trace(rule: QuadratureRule, floor: float) -> Estimate:
    """The trace; products round each eigenvalue, the more the larger it is."""
    rounding = _relative_rounding(rule, floor) * quadrature.absolute_sum(rule)
    return quadrature.jackknife(rule, quadrature.rule_trace).with_error(rounding)


def _relative_rounding(rule: QuadratureRule, floor: float) -> float:
    """The rounding of the products relative to the largest eigenvalue in size."""
    largest = float(np.nanmax(np.abs(rule.nodes)))
    return floor / largest if largest else 0.0


def _ends(rule: QuadratureRule, floor: float) -> dict[str, Any]:
    """The outermost nodes of all probes with their residuals, rounding included, and the ratio of the ends."""
    top, bottom = np.unravel_index([np.nanargmax(rule.nodes), np.nanargmin(rule.nodes)], rule.nodes.shape)
    (high, low), (above, below) = rule.nodes[top, bottom], np.hypot(rule.residuals[top, bottom], floor)
    ratio = abs(low / high) if high else float("inf")
    error = (below + ratio * above) / abs(high) if high else float("nan")
    names = ("lambda_max", "lambda_max_se", "lambda_min", "lambda_min_se", "r_e", "r_e_se")
    return dict(zip(names, map(float, (high, above, low, below, ratio, error)), strict=True))


def _below(analysis: Density, rule: QuadratureRule, floor: float) -> dict[str, Any]:
    """The fields about the share of the eigenvalues below -T; nothing without --below."""
    if analysis.below is None:
        return {}
    found = mass_below(rule, -analysis.below, floor)
    names = ("below", "share_below", "share_below_se", "share_below_low", "share_below_high")
    return dict(zip(names, (analysis.below, found.share, found.error, found.low, found.high), strict=True))


def _layers(
    layers: Mapping[ParameterGroup, QuadratureRule], grid: np.ndarray, width: float, floor: float
) -> dict[str, Any]:
    """The columns of the table of layers, largest trace first; nothing without layers."""
    if not layers:
        return {}
    groups, rules = list(layers), list(layers.values())
    traces = [_trace(rule, floor) for rule in rules]
    values = np.array([trace.value for trace in traces])
    arrays = {
        "trace": values,
        "trace_se": np.array([trace.error for trace in traces]),
        "share": values / (values.sum() or float("nan")),
        "frobenius_norm": np.array([quadrature.frobenius_norm(rule) for rule in rules]),
        "lambda_max": np.array([np.nanmax(rule.nodes) for rule in rules]),
        "lambda_min": np.array([np.nanmin(rule.nodes) for rule in rules]),
        "density": np.array([quadrature.smoothed_density(rule, grid, width)[0] for rule in rules]),
    }
    return layer_table(groups, values, arrays)
