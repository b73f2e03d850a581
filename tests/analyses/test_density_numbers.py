"""The density and its numbers against dense spectra and closed forms, and their bands against repetition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from oracles.samples import digits_mlp_hessian, digits_mlp_spectrum
from scipy.stats import t as student
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

import landscape
from landscape import Density, Objective, figures
from landscape.analyses.density import FIRST_LOOKS, DensityResult
from landscape.analyses.density_numbers import confidence_band

Data = tuple[Tensor, Tensor]


def smoothed(values: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    bells = np.exp(-(((grid[:, None] - values[None, :]) / width) ** 2) / 2)
    return bells.mean(axis=1) / (width * np.sqrt(2 * np.pi))


@pytest.fixture(scope="module")
def results() -> list[DensityResult]:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    return [landscape.run(Density(seed=seed), objective) for seed in range(6)]


@pytest.mark.slow
class TestDenseOracleOnDigits:
    @pytest.mark.parametrize(("probes", "steps"), FIRST_LOOKS[3:])
    def test_the_bands_of_small_first_looks_cover_the_exact_density(self, probes: int, steps: int) -> None:
        objective, covered, factors, held = landscape.load(SAMPLES / "digits-mlp.pt"), [], [], []
        quantile = float(student.ppf(0.975, probes - 1))
        for seed in range(6):
            result = landscape.run(Density(probes=probes, steps=steps, seed=seed), objective)
            exact = smoothed(digits_mlp_spectrum(), result.grid, result.width)
            low, high = result.density_band
            there = exact > 1e-6
            covered.append(((low <= 1.001 * exact) & (exact <= 1.001 * high))[there].mean())
            single = exact >= 1 / (2950 * result.width * np.sqrt(2 * np.pi))
            factors.append(np.median(np.maximum(high / exact, exact / low)[single]) / result.band_factor)
            held.append(abs(result.trace - digits_mlp_spectrum().sum()) <= quantile * result.trace_se)
        assert np.mean(covered) > 0.97
        assert 0.5 < np.median(factors) < 2  # the stated factor is that of the band around the truth
        assert np.mean(held) > 0.6

    def test_the_band_covers_the_exact_density(self, results: list[DensityResult]) -> None:
        covered = []
        for result in results:
            exact = smoothed(digits_mlp_spectrum(), result.grid, result.width)
            low, high = result.density_band
            there = exact > 1e-6
            covered.append(((low <= 1.001 * exact) & (exact <= 1.001 * high))[there].mean())
        assert np.mean(covered) > 0.98

    @pytest.mark.parametrize("moment", [1, 2, 3, 4])
    def test_moments_match_within_their_errors(self, results: list[DensityResult], moment: int) -> None:
        exact = (digits_mlp_spectrum() ** moment).mean()
        scores = []
        for result in results:
            each = (result.ritz_weights * np.nan_to_num(result.ritz_nodes) ** moment).sum(axis=1)
            # the higher moments have hardly any spread left: the products are of float32
            scores.append((each.mean() - exact) / (each.std(ddof=1) / len(each) ** 0.5 + 1e-6 * exact))
        assert np.abs(scores).max() < student.ppf(0.9995, 7)
        assert abs(np.mean(scores)) < 2

    def test_the_spectrum_is_nearer_than_plain_quadrature_s(self, results: list[DensityResult]) -> None:
        """Plain weights gave a 1-Wasserstein distance of 1.3e-3."""
        distances = [
            wasserstein_distance(
                digits_mlp_spectrum(), np.nan_to_num(r.ritz_nodes).ravel(), None, r.ritz_weights.ravel()
            )
            for r in results
        ]
        assert np.mean(distances) < 5e-4

    def test_numbers_match_within_their_errors(self, results: list[DensityResult]) -> None:
        values = digits_mlp_spectrum()
        size = np.abs(values)
        share = size[size > 0] / size.sum()
        order = np.sort(size)
        cumulated = np.cumsum(order) / size.sum()
        exact = {
            "trace": values.sum(),
            "frobenius_norm": np.linalg.norm(values),
            "effective_rank": np.exp(-(share * np.log(share)).sum()),
            "k_h1": -values[values < 0].sum() / values[values > 0].sum(),
            "bulk_condition": order[np.searchsorted(cumulated, 0.75)] / order[np.searchsorted(cumulated, 0.25)],
            "negative_mass": (values < -1e-6).mean(),
            "lambda_max": values[-1],
            "lambda_min": values[0],
            "r_e": -values[0] / values[-1],
        }
        for name, expected in exact.items():
            scores = [(getattr(r, name) - expected) / getattr(r, f"{name}_se") for r in results]
            assert np.abs(scores).max() < student.ppf(0.9995, 7), name

    def test_the_ends_are_exact_to_their_residuals(self, results: list[DensityResult]) -> None:
        assert results[0].lambda_max == pytest.approx(digits_mlp_spectrum()[-1], rel=1e-6)
        assert results[0].lambda_min == pytest.approx(digits_mlp_spectrum()[0], rel=1e-3)

    def test_layers_are_the_diagonal_blocks(self) -> None:
        result = landscape.run(Density(probes=8, steps=40, per_layer=True), landscape.load(SAMPLES / "digits-mlp.pt"))
        ends = {"0": (0, 2080), "2": (2080, 2740), "4": (2740, 2950)}
        assert list(result.layer) == ["0", "2", "4"]
        assert result.layer_share.sum() == pytest.approx(1)
        for place, name in enumerate(result.layer):
            values = np.linalg.eigvalsh(digits_mlp_hessian()[slice(*ends[name]), slice(*ends[name])])
            assert abs(result.layer_trace[place] - values.sum()) < 5 * result.layer_trace_se[place]
            assert result.layer_lambda_max[place] == pytest.approx(values[-1], rel=1e-5)
            assert result.layer_frobenius_norm[place] == pytest.approx(np.linalg.norm(values), rel=0.4)
            spacing = result.grid[1] - result.grid[0]
            assert result.layer_density[place].sum() * spacing == pytest.approx(1, rel=1e-3)


def test_the_band_is_student_s_and_never_negative() -> None:
    density = np.array([1.0, 0.5, 1e-12])
    low, high = confidence_band(density, 0.2 * density, 4, 0.01)
    # the 97.5 % quantile of Student's t with 3 degrees of freedom is 3.182
    assert high / density == pytest.approx(np.exp(3.182 * 0.2), rel=1e-3)
    assert low * high == pytest.approx(density**2)
    vague = confidence_band(density, np.full(3, 50.0), 4, 0.01)
    assert (vague[0] >= 0).all()
    assert vague[1] == pytest.approx(1 / (0.01 * (2 * np.pi) ** 0.5))  # all eigenvalues at one point


def test_delta_functions_of_linear_regression() -> None:
    """Orthogonal inputs: the Hessian is 2 diag(9, 9, 1, 1, 1, 1) / n times n, so two peaks of 1/3 and 2/3."""
    x = torch.eye(6) * torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0, 1.0]) * 6**0.5
    objective = Objective(nn.Linear(6, 1, bias=False), [(x, torch.zeros(6, 1))], "mse", dtype="float64")
    result = landscape.run(Density(probes=200, steps=6), objective)
    spacing = result.grid[1] - result.grid[0]
    upper = result.grid > 10
    assert result.lambda_max == pytest.approx(18)
    assert result.lambda_min == pytest.approx(2)
    assert result.density[upper].sum() * spacing == pytest.approx(1 / 3, abs=0.05)
    assert result.density[~upper].sum() * spacing == pytest.approx(2 / 3, abs=0.05)
    assert result.grid[result.density.argmax()] == pytest.approx(2, abs=0.1)
    assert result.negative_mass == 0
    assert result.k_h1 == 0


@pytest.mark.parametrize("value", [0.0, 2.5], ids=["zero", "one-value"])
def test_a_spectrum_without_a_width_is_drawn_all_the_same(value: float, tmp_path: Path) -> None:
    x = torch.eye(4) * (2 * value) ** 0.5
    objective = Objective(nn.Linear(4, 1, bias=False), [(x, torch.zeros(4, 1))], "mse")
    result = landscape.run(Density(probes=2, steps=4), objective)
    assert np.isfinite(result.density).all()
    assert result.lambda_max == pytest.approx(value)
    spacing = result.grid[1] - result.grid[0]
    assert result.density.sum() * spacing == pytest.approx(1, rel=1e-3)
    figures.save(result, tmp_path / "a.png", heading="", fingerprint="")


def test_an_indefinite_spectrum_has_its_negative_share() -> None:
    """A saddle: the loss is x1^2 + x2^2 - x3^2 of three weights, so that a third is negative."""

    def saddle(output: Tensor, target: Tensor) -> Tensor:
        return (output**2 * target).mean(dim=1)

    x = torch.eye(3)
    objective = Objective(nn.Linear(3, 1, bias=False), [(x, torch.tensor([[1.0], [1.0], [-1.0]]))], saddle)
    result = landscape.run(Density(probes=300, steps=3), objective)
    assert result.negative_mass == pytest.approx(1 / 3, abs=0.06)
    assert result.k_h1 == pytest.approx(1 / 2, abs=0.1)
    assert result.r_e == pytest.approx(1, rel=1e-5)


def test_the_gauss_newton_matrix_has_no_negative_mass(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    assert landscape.run(Density(operator="ggn", probes=3, steps=20), objective).lambda_min > -1e-12


def test_the_factor_of_the_band_is_its_median_where_there_may_be_an_eigenvalue(classification: Data) -> None:
    result = landscape.run(Density(probes=4, steps=6), Objective(tanh_net(), [classification], "cross_entropy"))
    with np.errstate(divide="ignore", invalid="ignore"):  # far from all nodes the density is 0
        factors = np.maximum(result.density_band[1] / result.density, result.density / result.density_band[0])
    single = result.density >= 1 / (39 * result.width * np.sqrt(2 * np.pi))
    assert result.band_factor == pytest.approx(np.median(factors[single]))
    assert result.band_factor < 0.9 * np.nanmedian(
        factors
    )  # between eigenvalues there is little, of which less is known
    assert 0 < result.quadrature_share < 1


def test_the_steps_leave_no_error_once_they_hold_the_whole_spectrum(classification: Data) -> None:
    result = landscape.run(Density(probes=4, steps=64), Objective(tanh_net(), [classification], "cross_entropy"))
    assert result.quadrature_share == 0
    assert result.band_factor == pytest.approx(1, abs=1e-3)
    assert result.more(1.0) == ""


def test_errors_contain_the_rounding_of_float32(classification: Data) -> None:
    """Rules that hold the whole spectrum have no other error: against float64, over scales of the weights."""
    for scale in (0.5, 1.0, 2.0, 4.0):
        net = tanh_net()
        with torch.no_grad():
            net[0].weight.mul_(scale)
        single = landscape.run(Density(probes=4, steps=64), Objective(net, [classification], "cross_entropy"))
        double = landscape.run(
            Density(probes=4, steps=64), Objective(net, [classification], "cross_entropy", dtype="float64")
        )
        assert abs(single.trace - double.trace) < 3 * single.trace_se < 1e-4 * single.trace
        assert abs(single.frobenius_norm - double.frobenius_norm) < 3 * single.frobenius_norm_se
        assert double.trace_se < 1e-3 * single.trace_se
