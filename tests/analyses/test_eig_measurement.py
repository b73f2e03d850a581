"""Eigenvalues against closed forms and dense solvers, and every way in which they may be inconclusive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained, same
from conftest import SAMPLES, Splitter, tanh_net
from oracles.dense import dense_hessian
from oracles.samples import digits_mlp_hessian, digits_mlp_spectrum
from safetensors.numpy import load_file
from torch import Tensor, nn

import landscape
from landscape import Eig, Objective, session
from landscape.analyses.shared.products import product_facts
from landscape.compute.strategy import ProductSettings
from landscape.errors import NumericalError, UsageError
from landscape.storage.read import read_results

Data = tuple[Tensor, Tensor]


class TestEig(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Eig:
        return Eig(k=3)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestEigByLayerWithCertificateAndResampling(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Eig:
        return Eig(k=2, per_layer=True, certify=True, certify_gap=0.2, resample=4, block=2)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


@pytest.fixture(scope="module")
def digits_spectrum() -> np.ndarray:
    return digits_mlp_spectrum()


@pytest.mark.slow
class TestDenseOracleOnDigits:
    def exact(self, spectrum: np.ndarray, which: str, k: int) -> np.ndarray:
        return {
            "largest": spectrum[::-1][:k],
            "smallest": spectrum[:k],
            "both": np.r_[spectrum[::-1][: k - k // 2], spectrum[: k // 2][::-1]],
            "magnitude": spectrum[np.argsort(-np.abs(spectrum))][:k],
        }[which]

    @pytest.mark.parametrize("max_basis", [None, 60], ids=["unrestarted", "max-basis-2k+20"])
    def test_twenty_values_in_at_most_seventy_products_to_1e_5(
        self, digits_spectrum: np.ndarray, max_basis: int | None
    ) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        result = landscape.run(Eig(k=20, max_basis=max_basis), objective)
        exact = digits_spectrum[::-1][:20]
        assert result.products <= 70
        assert np.abs(result.eigenvalues / exact - 1).max() <= 1e-5
        assert (np.abs(result.eigenvalues - exact) <= result.error_bounds).all()
        assert result.confirmed

    @pytest.mark.parametrize(("which", "k"), [("largest", 5), ("smallest", 3), ("both", 6), ("magnitude", 5)])
    def test_each_end_of_the_spectrum(self, digits_spectrum: np.ndarray, which: str, k: int) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt", dtype="float64")
        result = landscape.run(Eig(k=k, which=which, tol=1e-4), objective)
        exact = self.exact(digits_spectrum, which, k)
        assert result.converged.all()
        assert (np.abs(result.eigenvalues - exact) <= result.error_bounds).all()
        assert np.allclose(result.eigenvalues, exact, rtol=1e-6)

    def test_pyhessian_s_own_power_iteration_agrees_to_its_accuracy(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        result = landscape.run(Eig(k=3, cross_check=True), objective)
        assert np.abs(result.pyhessian_relative_difference).max() < 0.01  # it stops on a change of 1e-3 per step
        assert np.abs(result.pyhessian_relative_difference).max() > 1e-5  # and is truly another computation

    def test_pyhessian_s_products_give_the_same_eigenvalues(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        ours, theirs = (landscape.run(Eig(k=4, operator=name), objective) for name in ("hessian", "pyhessian"))
        assert np.allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-5)


def test_linear_regression(generator: torch.Generator, split: Splitter) -> None:
    x = torch.randn(24, 6, generator=generator)
    y = torch.randn(24, 1, generator=generator)
    result = landscape.run(Eig(k=6), Objective(nn.Linear(6, 1, bias=False), split(x, y), "mse", dtype="float64"))
    exact = np.linalg.eigvalsh((2 * x.double().T @ x.double() / 24).numpy())[::-1]
    assert np.allclose(result.eigenvalues, exact, rtol=1e-12)
    assert result.converged.all()


@pytest.mark.parametrize("micro_batch", [1, 5, 24])
def test_batches_and_micro_batches_change_nothing(classification: Data, split: Splitter, micro_batch: int) -> None:
    whole = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    cut = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64", micro_batch=micro_batch)
    ours, theirs = landscape.run(Eig(k=5), whole), landscape.run(Eig(k=5), cut)
    assert np.allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-10)
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-14)
    assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-12)


def test_blocks_take_fewer_passes_to_the_same_values(classification: Data) -> None:
    read = []

    class Read:
        """Data that are read anew on each pass."""

        def __iter__(self) -> Iterator[Data]:
            read.append(1)
            return iter([classification])

    passes = []
    for block in (1, 4):
        objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
        objective.batches = dataclasses.replace(objective.batches, source=Read(), kept=False, whole=None)
        operator_products = len(read)
        result = landscape.run(Eig(k=4, block=block), objective)
        passes.append(len(read) - operator_products)
        values = torch.linalg.eigvalsh(dense_hessian(tanh_net(), [classification]))
        assert np.allclose(result.eigenvalues, values.flip(0)[:4], rtol=1e-5)
        assert result.confirmed
        assert len(result.ritz_values) == passes[-1] - 3  # the loss before and after, and its differences
        assert (result.search_passes or 0) < len(result.ritz_values)
    assert passes[1] < 0.8 * passes[0]


def test_the_start_vector_changes_nothing(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    first, second = (landscape.run(Eig(k=4, seed=seed), objective).eigenvalues for seed in (0, 1))
    assert np.allclose(first, second, rtol=1e-6)


def test_a_block_of_parameters_has_the_eigenvalues_of_its_block(classification: Data) -> None:
    dense = dense_hessian(tanh_net(), [classification])[24:, 24:]
    objective = Objective(tanh_net(), [classification], "cross_entropy", params=("2.*",), dtype="float64")
    result = landscape.run(Eig(k=3), objective)
    assert result.parameters == 15
    assert np.allclose(result.eigenvalues, np.linalg.eigvalsh(dense.numpy())[::-1][:3], rtol=1e-6)


def test_vectors_are_unit_and_satisfy_the_equation(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    result = landscape.run(Eig(k=4, tol=1e-8), objective)
    dense = dense_hessian(tanh_net(), [classification]).numpy()
    assert np.allclose(result.vectors.T @ result.vectors, np.eye(4), atol=1e-12)
    assert np.allclose(dense @ result.vectors, result.vectors * result.eigenvalues, atol=1e-7)


def test_saved_vectors_carry_the_state_dict_s_names(classification: Data, tmp_path: Path) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    measurement = session.execute(Eig(k=2, save_vectors=True), objective, output=tmp_path / "a.landscape.h5")
    saved = load_file(tmp_path / "a.eig.safetensors")
    assert list(saved) == sorted(tanh_net().state_dict())
    flat = np.concatenate([saved[name].reshape(2, -1) for name in objective.space.names], axis=1)
    assert np.array_equal(flat.T, measurement.result.vectors)


def test_an_all_zero_hessian_is_a_result(classification: Data) -> None:
    class Constant(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 0.0 * super().forward(x)

    x, y = classification
    result = landscape.run(Eig(k=2), Objective(Constant(5, 3), [(x, y)], "cross_entropy"))
    assert result.eigenvalues.tolist() == [0, 0]
    assert result.converged.all()


def test_too_few_products_are_reported_and_can_be_resumed(classification: Data, tmp_path: Path) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    output = tmp_path / "run.landscape.h5"
    short = session.execute(Eig(k=4, max_products=5), objective, output=output)
    assert "converged in 5 products" in str(short.result.trouble())
    assert short.attributes["status"] == "partial"
    assert not short.result.confirmed
    longer = session.execute(Eig(k=4, max_products=500), objective, output=output)
    assert np.array_equal(longer.result.eigenvalues, landscape.run(Eig(k=4), objective).eigenvalues)


def test_values_that_the_products_did_not_suffice_for_are_nan(classification: Data, tmp_path: Path) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    output = tmp_path / "run.landscape.h5"
    result = landscape.run(Eig(k=5, max_products=3), objective, output=output)
    assert np.isnan(result.eigenvalues).tolist() == [False] * 3 + [True] * 2
    assert not result.converged.any()
    assert "0 of 5 eigenvalues converged in 3 products" in str(result.trouble())
    assert read_results(output)["eig"].values["eigenvalues"].shape == (5,)


def test_as_many_eigenvalues_as_parameters_is_the_whole_spectrum(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    result = landscape.run(Eig(k=39), objective)
    exact = np.linalg.eigvalsh(dense_hessian(tanh_net(), [classification]).numpy())[::-1]
    assert np.allclose(result.eigenvalues, exact, atol=1e-12)


def test_a_gradient_that_is_not_finite_names_its_tensors() -> None:
    class Root(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).abs().sqrt()  # the derivative at 0 is infinite

    model = Root(2, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    objective = Objective(model, [(torch.randn(4, 2), torch.ones(4, 1))], "mse")
    with pytest.raises(NumericalError, match=r"NaN or infinity in the gradient: weight"):
        landscape.run(Eig(k=1), objective)


def test_the_plan_counts_basis_and_products(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    plan = Eig(k=3, max_basis=20).plan(objective)
    assert plan.bytes == 20 * 39 * 4 + product_facts(Eig(), objective)[1]
    assert plan.memory["basis"] == 20 * 39 * 4
    assert plan.bytes == sum(plan.memory.values())
    assert plan.facts["hvp"].startswith("loop, ")
    assert plan.products > 3
    assert plan.seconds > 0


@pytest.mark.slow
class TestDenseOracleByLayer:
    def test_each_layer_s_values_are_those_of_its_diagonal_block(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        result = landscape.run(Eig(k=3, per_layer=True), objective)
        ends = {"0": (0, 2080), "2": (2080, 2740), "4": (2740, 2950)}
        assert set(result.layer) == ends.keys()
        for place, name in enumerate(result.layer):
            block = digits_mlp_hessian()[slice(*ends[name]), slice(*ends[name])]
            exact = np.linalg.eigvalsh(block)[::-1][:3]
            assert np.allclose(result.layer_eigenvalues[place], exact, rtol=1e-5)
            assert (np.abs(result.layer_eigenvalues[place] - exact) <= result.layer_residuals[place]).all()
        assert (np.diff(result.layer_eigenvalue) < 0).all()
        assert result.layer_products < 2 * result.products

    def test_the_certificate_holds_for_the_exact_spectrum(self, digits_spectrum: np.ndarray) -> None:
        result = landscape.run(Eig(k=3, certify=True), landscape.load(SAMPLES / "digits-mlp.pt"))
        assert result.certified
        assert result.certified_gap == 0.01
        assert result.certified_probability <= 0.01
        width = digits_spectrum[-4] - digits_spectrum[0]
        assert 0.01 * width <= result.certified_margin <= 0.01 * width / 0.98 + 0.01
        assert any("certified: no eigenvalue" in remark for remark in result.remarks())


def test_a_certificate_that_was_cut_short_is_inconclusive(classification: Data) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    result = landscape.run(Eig(k=1, certify=True, max_products=20), objective)
    assert result.converged.all()
    assert result.certified is False
    assert result.certified_gap is None
    assert "not certified" in str(result.trouble())
    assert "--max-products" in result.trouble().fix


def test_the_data_s_error_is_what_other_samples_show() -> None:
    """The top value of linear regression with isotropic inputs, over draws of the data, against one run's statement."""
    generator = torch.Generator().manual_seed(3)
    scale = torch.tensor([3.0, 1.0, 1.0, 1.0])
    tops, stated = [], []
    for _ in range(60):
        x = torch.randn(400, 4, generator=generator) * scale
        objective = Objective(nn.Linear(4, 1, bias=False), [(x, torch.zeros(400, 1))], "mse")
        result = landscape.run(Eig(k=2, resample=20), objective)
        tops.append(result.eigenvalues[0])
        stated.append(result.data_standard_errors[0])
    # lambda_1 is about 2 * 9; the variance of a mean of 400 squares of variance 2 * 81 is 2 * 81 / 400
    assert np.mean(stated) == pytest.approx(np.std(tops), rel=0.25)
    assert np.mean(stated) == pytest.approx(2 * (2 * 81 / 400) ** 0.5, rel=0.1)
    assert "more samples" in " ".join(result.remarks())


@pytest.mark.parametrize(
    ("samples", "which", "variances"),
    [
        (30, "largest", (8.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0)),
        (120, "largest", (8.0, 5.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0)),
        (120, "smallest", (8.0, 8.0, 5.0, 5.0, 5.0, 5.0, 5.0, 2.0)),
    ],
)
def test_the_bias_by_the_number_of_samples_is_that_against_the_population(
    samples: int, which: Any, variances: tuple[float, ...]
) -> None:
    """On few samples the ends of the spectrum of linear regression, twice the variances, are too far out."""
    generator = torch.Generator().manual_seed(5)
    exact = 2 * (max(variances) if which == "largest" else min(variances))
    values, biases = [], []
    for _ in range(40):
        x = torch.randn(samples, 8, generator=generator) * torch.tensor(variances).sqrt()
        objective = Objective(nn.Linear(8, 1, bias=False), [(x, torch.zeros(samples, 1))], "mse")
        result = landscape.run(Eig(k=1, which=which, resample=10, confirm=0), objective)
        values.append(result.eigenvalues[0])
        biases.append(result.data_biases[0])
    bias, uncertainty = np.mean(values) - exact, np.std(values) / 40**0.5
    assert np.mean(biases) == pytest.approx(bias, abs=2 * uncertainty + 0.35 * abs(bias))
    assert (np.array(biases) > 0).all() if which == "largest" else (np.array(biases) < 0).all()  # by convexity
    assert abs(np.mean(biases)) > 0.02 * exact


def test_halves_differ_in_the_samples_they_hold_and_give_the_dense_bias(generator: torch.Generator) -> None:
    """Groups of 3, 4 and 4 of 11 samples: the halves are the first group and the other two."""
    x = torch.randn(11, 3, generator=generator, dtype=torch.float64)
    objective = Objective(
        nn.Linear(3, 1, bias=False), [(x[:5], torch.zeros(5, 1)), (x[5:], torch.zeros(6, 1))], "mse", dtype="float64"
    )
    result = landscape.run(Eig(k=2, resample=3), objective)
    parts = [2 * part.T @ part / len(part) for part in (x[:3], x[3:])]
    both = [torch.linalg.eigvalsh(part).flip(0)[:2].numpy() for part in parts]
    whole = torch.linalg.eigvalsh(2 * x.T @ x / 11).flip(0)[:2].numpy()
    assert result.data_biases == pytest.approx(3 / 11 * both[0] + 8 / 11 * both[1] - whole, rel=1e-3)


def test_a_half_without_loss_terms_leaves_the_bias_unknown(generator: torch.Generator) -> None:
    x, y = torch.randn(12, 3, generator=generator), torch.randint(0, 2, (12,), generator=generator)
    y[6:] = -100
    result = landscape.run(Eig(k=1, resample=4), Objective(nn.Linear(3, 2), [(x, y)], "cross_entropy"))
    assert np.isnan(result.data_biases).all()
    assert "is not known" in result.remarks()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": 1}, "leaves nothing to compare"),
        ({"resample": 30}, "30 groups of 24 samples"),
        ({"resample": 4, "operator": "pyhessian"}, "cannot take apart"),
        ({"per_layer": True, "blocks": ("0.*",)}, "two ways"),
        ({"blocks": ("nothing.*",)}, "no trainable parameter matches --blocks"),
        ({"blocks": ("0.*", "*.weight")}, "two --blocks hold 0.weight"),
        ({"certify": True, "certify_gap": 0.5}, "--certify-gap"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], message: str, classification: Data) -> None:
    with pytest.raises(UsageError, match=message):
        landscape.run(Eig(k=2, **options), Objective(tanh_net(), [classification], "cross_entropy"))


def test_a_value_that_has_not_converged_has_no_error_bound() -> None:
    result = landscape.run(Eig(k=5, max_products=6), landscape.load(SAMPLES / "digits-mlp.pt"))
    assert np.array_equal(np.isnan(result.error_bounds), ~result.converged)
    assert np.isfinite(result.residuals).all()


def test_a_resumed_run_by_differences_has_the_same_eigenvalues(classification: Data) -> None:
    """The errors of products are measured anew."""
    settings = ProductSettings("difference")
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", settings=settings)
    analysis = Eig(k=2)
    steps, whole = drained(analysis.measure(objective))
    running = analysis.measure(objective)
    for _ in range(len(steps) // 2):
        progress = next(running)
    state = {name: array.copy() for name, array in progress.state().items()}
    _, resumed = drained(analysis.measure(objective, resume=state))
    assert np.array_equal(resumed.eigenvalues, whole.eigenvalues)
    assert (np.abs(resumed.eigenvalues - exact_values(classification, 2)) <= resumed.error_bounds).all()


def exact_values(data: Data, k: int) -> np.ndarray:
    values: np.ndarray = torch.linalg.eigvalsh(dense_hessian(tanh_net(), [data])).flip(0)[:k].numpy()
    return values


def test_a_run_that_is_resumed_while_it_chooses_samples_ends_with_the_same_bits() -> None:
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    objective = Objective(tanh_net(), [(x, torch.arange(200) % 3)], "cross_entropy")
    analysis = Eig(k=1, data_error="50%")
    steps, whole = drained(analysis.measure(objective))
    chosen = sum("choosing samples" in step.note for step in steps)
    for stop in (chosen // 2, chosen, chosen + 3):
        running = analysis.measure(objective)
        for _ in range(stop):
            progress = next(running)
        state = {name: array.copy() for name, array in progress.state().items()}
        _, resumed = drained(analysis.measure(objective, resume=state))
        assert same(resumed, whole)


def test_the_residuals_of_layers_contain_the_error_of_differences(classification: Data) -> None:
    settings = ProductSettings("difference")
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", settings=settings)
    result = landscape.run(Eig(k=1, per_layer=True), objective)
    assert objective.strategies.product_error is not None
    assert (result.layer_residual >= 0.5 * objective.strategies.product_error[0]).all()
    assert result.layer_converged.all()
    small = landscape.run(Eig(k=1, per_layer=True, tol=1e-11, max_products=60), objective)
    assert not small.layer_converged.any()
