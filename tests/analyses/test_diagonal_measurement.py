"""The diagonal of every matrix against dense ones, its errors, its files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, Splitter, tanh_net
from oracles.dense import dense_hessian
from oracles.diagonals import TextNet, ggn_diagonal, summed_cross_entropy
from oracles.samples import digits_mlp_hessian
from safetensors.numpy import load_file
from torch import Tensor, nn

import landscape
from landscape import Diagonal, Objective, operators, session
from landscape.compute.strategy import ProductSettings
from landscape.errors import TaskError, UsageError
from landscape.losses import OutputStructure

Data = tuple[Tensor, Tensor]
T_7 = 2.365  # Student's t of eight values


def tokens(count: int = 30) -> Data:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 5, (count, 6), generator=generator), torch.randint(0, 5, (count, 9), generator=generator)


class LongText(nn.Module):
    """The text net with nine outputs of five classes each: too many to factor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = TextNet()

    def forward(self, ids: Tensor) -> Tensor:
        """Logits `(n, 9, 5)`."""
        logits: Tensor = self.net(ids)
        return torch.cat([logits, logits[:, :3] * 2], dim=1)


class TestGaussNewton(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Diagonal:
        return Diagonal(operator="ggn", top="10%")

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


class TestHessian(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Diagonal:
        return Diagonal(rtol=0.3)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
        return Objective(net, [classification], "cross_entropy")


class TestReLU(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Diagonal:
        return Diagonal(rtol=0.05)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(relu_net(), [classification], "cross_entropy")


class TestDraws(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Diagonal:
        return Diagonal(operator="fisher", rtol=0.12)

    @pytest.fixture
    def objective(self) -> Objective:
        return Objective(LongText(), [tokens()], "cross_entropy")


def relu_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))


def entries(matrix: Tensor | np.ndarray) -> np.ndarray:
    return torch.as_tensor(matrix).diag().numpy()


def test_a_small_hessian_is_computed_entry_by_entry(classification: Data, split: Splitter) -> None:
    net = nn.Linear(5, 3)
    objective = Objective(net, split(*classification), "cross_entropy", dtype="float64")
    result = landscape.run(Diagonal(), objective)
    exact = entries(dense_hessian(net, [classification]))
    np.testing.assert_allclose(result.diagonal, exact, rtol=1e-10)
    assert result.relative_error == result.trace_se == 0
    assert result.trace == pytest.approx(exact.sum())
    assert result.products == 18
    assert result.norm == pytest.approx(np.linalg.norm(exact))
    assert result.largest == pytest.approx(exact.max())
    assert result.smallest == pytest.approx(exact.min())


def test_the_gauss_newton_diagonal_is_exact_in_every_batch_size(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    result = landscape.run(Diagonal(operator="ggn"), objective)
    exact = ggn_diagonal(tanh_net(), classification, summed_cross_entropy) / len(classification[0])
    np.testing.assert_allclose(result.diagonal, exact, rtol=1e-8)
    assert not result.standard_errors.any()
    assert (result.products, result.draws, result.trace_se) == (0, 0, 0)
    assert not result.trouble()


def test_the_hessian_of_a_relu_net_is_its_gauss_newton_part(classification: Data) -> None:
    """Its outputs are piecewise linear in each layer, so that H - G has no diagonal blocks."""
    objective = Objective(relu_net(), [classification], "cross_entropy", dtype="float64")
    result = landscape.run(Diagonal(rtol=0.01), objective)
    np.testing.assert_allclose(
        result.diagonal, entries(dense_hessian(relu_net(), [classification])), rtol=1e-6, atol=1e-9
    )
    assert result.relative_error < 1e-9
    assert result.products < 30
    assert result.known_trace == pytest.approx(result.trace)
    assert "random vectors show no rest" in result.remarks()[0]


@pytest.mark.slow
class TestDigits:
    def test_errors_cover_the_entries_and_the_sums_of_the_dense_hessian(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        exact = entries(digits_mlp_hessian())
        inside, sums, square = [], [], []
        layers = {"0": exact[:2080].sum(), "2": exact[2080:2740].sum(), "4": exact[2740:].sum()}
        for seed in range(12):
            result = landscape.run(Diagonal(rtol=0.2, seed=seed), objective)
            assert not result.trouble()
            difference = result.diagonal - exact
            rounding = 1e-5 * np.abs(exact) + 1e-8 * exact.max()
            inside.append(np.abs(difference) <= T_7 * result.standard_errors + rounding)
            sums.append(abs(result.trace - exact.sum()) < T_7 * result.trace_se)
            for name, value, error in zip(result.layer, result.layer_trace, result.layer_trace_se, strict=True):
                sums.append(abs(value - layers[name]) < T_7 * error)
            square.append([(difference**2).sum(), (result.standard_errors**2).sum()])
            assert np.linalg.norm(difference) < 0.3 * np.linalg.norm(exact)
        assert 0.93 < np.mean(inside) < 0.985
        assert np.mean(sums) >= 0.85
        actual, stated = np.mean(square, axis=0)
        assert stated == pytest.approx(actual, rel=0.25)

    def test_the_split_takes_less_work_than_products_of_the_hessian(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt")
        result = landscape.run(Diagonal(), objective)
        assert result.known_trace == pytest.approx(13.9, rel=0.01)
        assert result.cost_gradients < 400
        assert result.relative_error <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["ggn", "fisher"])
def test_draws_cover_the_dense_diagonal(operator: Any) -> None:
    objective = Objective(LongText(), [tokens()], "cross_entropy", dtype="float64")
    exact = ggn_diagonal(LongText(), tokens(), summed_cross_entropy) / objective.count
    inside, traces = [], []
    for seed in range(20):
        result = landscape.run(Diagonal(operator=operator, rtol=0.1, seed=seed), objective)
        assert result.relative_error <= 0.1
        assert result.draws >= 16
        varying = exact.numpy() > 1e-9 * float(exact.max())
        difference = np.abs(result.diagonal - exact.numpy())
        inside.append((difference < 1.96 * result.standard_errors)[varying])
        traces.append(abs(result.trace - float(exact.sum())) < 1.96 * result.trace_se)
    assert 0.9 < np.mean(inside) < 0.975
    assert np.mean(traces) >= 0.8


class Poisson:
    """A likelihood of counts."""

    name = "poisson"
    structure = OutputStructure(likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """-log p up to a constant."""
        return (output.exp() - target * output).sum()

    def count(self, target: Tensor) -> int:
        """The entries."""
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Any) -> Tensor:
        """Counts by inversion, up to 60."""
        rate, points = output.double().exp(), uniform(tuple(output.shape))
        log = torch.arange(61.0, dtype=torch.float64)
        mass = (log * rate[..., None].log() - rate[..., None] - torch.lgamma(log + 1)).exp().cumsum(-1)
        return (mass < points[..., None]).sum(-1).to(target)


@pytest.mark.slow
def test_labels_of_another_likelihood_give_its_fisher_matrix() -> None:
    """Of counts with a log rate the Fisher matrix is the Gauss-Newton matrix."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(50, 5, generator=generator), torch.ones(50, 3)
    objective = Objective(tanh_net(), data, Poisson(), dtype="float64")
    exact = ggn_diagonal(tanh_net(), data, lambda z, t: z.exp().sum() - (t * z).sum()) / 150
    z, traces = [], []
    for seed in range(20):
        result = landscape.run(Diagonal(operator="fisher", rtol=0.1, seed=seed), objective)
        assert result.draws % 16 == 0
        z.append((result.diagonal - exact.numpy()) / result.standard_errors)
        traces.append(result.trace - float(exact.sum()))
    assert abs(np.mean(traces)) < 3.5 * np.std(traces) / 20**0.5
    assert 0.91 < (np.abs(z) < 1.96).mean() < 0.98


def test_more_products_lead_to_what_was_asked_for(tmp_path: Path) -> None:
    objective, output = landscape.load(SAMPLES / "digits-mlp.pt", limit=200), tmp_path / "a.landscape.h5"
    cut = session.execute(Diagonal(rtol=0.05, max_products=40), objective, output=output)
    trouble = cut.result.trouble()
    assert trouble
    assert trouble.why.endswith("after 40 products, 0.05 was asked for")
    assert "--max-products" in trouble.fix
    whole = session.execute(Diagonal(rtol=0.05), objective, output=output)
    assert not whole.result.trouble()
    assert whole.result.products > 40


def test_draws_have_a_limit_too() -> None:
    objective = Objective(LongText(), [tokens()], "cross_entropy")
    result = landscape.run(Diagonal(operator="ggn", rtol=1e-3, max_products=20), objective)
    assert result.draws == 16
    assert "after 16 draws, 0.001 was asked for" in str(result.trouble())


def test_a_preconditioned_diagonal_is_divided_by_the_preconditioner(classification: Data) -> None:
    net = nn.Linear(5, 3)
    scale = {"weight": torch.full((3, 5), 4.0), "bias": torch.full((3,), 0.5)}
    objective = Objective(net, [classification], "cross_entropy", dtype="float64", preconditioner=scale)
    plain = landscape.run(Diagonal(), objective).diagonal
    divided = landscape.run(Diagonal(operator="preconditioned"), objective).diagonal
    assert plain is not None
    np.testing.assert_allclose(divided, plain / np.array([4.0] * 15 + [0.5] * 3), rtol=1e-9)


def test_weight_decay_adds_its_rate_to_every_entry(classification: Data) -> None:
    for kind in ("hessian", "ggn"):
        plain, decayed = (
            landscape.run(
                Diagonal(operator=kind, rtol=0.01),
                Objective(relu_net(), [classification], "cross_entropy", dtype="float64", weight_decay=rate),
            ).diagonal
            for rate in (0.0, 0.25)
        )
        np.testing.assert_allclose(decayed - plain, 0.25, atol=1e-6)


def test_a_model_in_train_mode_is_measured_by_products(classification: Data) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(net, [classification], "cross_entropy", dtype="float64", mode="train")
    result = landscape.run(Diagonal(operator="ggn", rtol=1e-6), objective)
    exact = operators.operator("ggn", objective).to_dense().diag()
    np.testing.assert_allclose(result.diagonal, exact, rtol=1e-6, atol=1e-9)
    with pytest.raises(TaskError, match="a sample's loss depends on the others in its batch"):
        landscape.run(Diagonal(operator="fisher"), objective)


def test_drawn_labels_need_gradients_of_single_samples(classification: Data) -> None:
    settings = ProductSettings(weights_dtype="bfloat16")
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=settings)
    with pytest.raises(UsageError, match="error of the Fisher matrix's diagonal by the labels drawn is not known"):
        landscape.run(Diagonal(operator="fisher"), objective)
    stored = landscape.run(Diagonal(operator="ggn", rtol=1e-4), objective)
    exact = operators.operator("ggn", objective).to_dense().diag()
    np.testing.assert_allclose(stored.diagonal, exact, rtol=1e-3, atol=1e-6)


def test_differences_of_gradients_are_refused(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=ProductSettings(hvp="difference"))
    with pytest.raises(UsageError, match="does not tell the error of single entries"):
        landscape.run(Diagonal(), objective)


def test_the_files_hold_entries_errors_and_mask_by_parameter(tmp_path: Path) -> None:
    objective, output = landscape.load(SAMPLES / "digits-mlp.pt", limit=100), tmp_path / "a.landscape.h5"
    result = session.execute(Diagonal(rtol=0.3, top="5%"), objective, output=output).result
    shapes = {block.name: block.shape for block in objective.space.blocks}
    files = [load_file(tmp_path / f"a.diagonal{part}.safetensors") for part in ("", "-errors", "-mask")]
    for found, whole in zip(files, (result.diagonal, result.standard_errors, result.mask), strict=True):
        assert {name: part.shape for name, part in found.items()} == shapes
        flat = np.concatenate([found[name].ravel() for name in shapes])
        np.testing.assert_allclose(flat, whole, rtol=1e-6)
    assert files[0]["0.weight"].dtype == np.float32
    assert files[2]["0.weight"].dtype == bool
    assert sum(int(part.sum()) for part in files[2].values()) == result.top_count == 148


def test_the_mask_of_an_earlier_run_is_told_apart(tmp_path: Path) -> None:
    objective, output = landscape.load(SAMPLES / "digits-mlp.pt", limit=50), tmp_path / "a.landscape.h5"
    said: list[str] = []
    session.execute(Diagonal(operator="ggn", top="5%"), objective, output=output, say=said.append)
    assert not said
    session.execute(Diagonal(operator="ggn"), objective, output=output, say=said.append)
    assert any("a.diagonal-mask.safetensors is the mask of an earlier run" in line for line in said)


def test_a_plan_names_the_work(classification: Data) -> None:
    net = Objective(relu_net(), [classification], "cross_entropy")
    exact, products = Diagonal(operator="ggn").plan(net), Diagonal().plan(net)
    assert exact.products == 0
    assert "samples' gradients" in exact.facts
    assert 0 < products.products <= net.space.size
    assert "sketch" in products.memory
    assert products.bytes > exact.bytes > 0
    drawn = Diagonal(operator="ggn").plan(Objective(LongText(), [tokens()], "cross_entropy"))
    assert drawn.seconds > 0
