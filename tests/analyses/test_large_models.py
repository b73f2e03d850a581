"""Large models take other ways, which need less memory: to the same numbers as the ways of small models."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import landscape
from landscape.compute import budget
from landscape.compute.strategy import ProductSettings
from landscape.objective import Objective
from landscape.operators import HessianOperator


class Tied(nn.Module):
    """A table of tokens that is also the head, a fixed parameter, a number, and a parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.hidden = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.randn(3))
        self.fixed = nn.Parameter(torch.randn(6), requires_grad=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.hidden(self.table(tokens)) + self.fixed) * self.scale
        return hidden @ self.table.weight.T


def objective(**settings: object) -> Objective:
    torch.manual_seed(0)
    model = Tied()
    tokens = torch.randint(0, 11, (30,))
    data = [(tokens[:20], tokens[:20].flip(0)), (tokens[20:], tokens[20:])]
    return Objective(model, data, "cross_entropy", **settings)  # type: ignore[arg-type]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)


def test_gradients_are_the_same_to_the_last_bit_and_products_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = objective(settings=ProductSettings(hvp="loop"))
    block = torch.randn(subject.space.size, 3, generator=torch.Generator().manual_seed(1))
    before = subject.gradient(), HessianOperator(subject) @ block
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    operator = HessianOperator(subject)
    assert torch.equal(subject.gradient(), before[0])
    for _ in range(2):  # the second product uses the graph of the first
        assert torch.allclose(operator @ block, before[1], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("large")
def test_products_are_columns_of_the_dense_matrix_in_double_precision() -> None:
    subject = objective(dtype="float64", weight_decay=0.1)
    theta = subject.theta.clone().requires_grad_()

    def loss(point: torch.Tensor) -> torch.Tensor:
        return sum(subject.batch_total(point, batch) for batch in subject.batches) / subject.count  # type: ignore[return-value]

    expected = torch.autograd.functional.hessian(loss, theta)
    assert torch.allclose(HessianOperator(subject).to_dense(), expected, atol=1e-14)


def test_every_analysis_finds_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    analyses = {
        "eig": (landscape.Eig(k=2, seed=1), ("eigenvalues", "error_bounds")),
        "trace": (landscape.Trace(method="hutchinson", max_products=20), ("trace", "standard_error")),
        "sharpness": (landscape.Sharpness(starts=1, draws=0), ("s_max", "scaled_gradient")),
        "surface": (landscape.Surface(dim=1, grid=5), ("loss",)),
    }
    small = {name: landscape.run(analysis, objective(dtype="float64")) for name, (analysis, _) in analyses.items()}
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    for name, (analysis, columns) in analyses.items():
        result = landscape.run(analysis, objective(dtype="float64"))
        for column in columns:
            assert getattr(result, column) == pytest.approx(getattr(small[name], column), rel=1e-6), (name, column)
    curvature = landscape.run(landscape.Surface(dim=1, grid=5), objective(dtype="float64")).hessian_alpha
    assert curvature == pytest.approx(small["surface"].hessian_alpha, rel=1e-3)


@pytest.mark.usefixtures("large")
def test_eigenvectors_are_computed_where_something_asks_for_them() -> None:
    assert landscape.run(landscape.Eig(k=1), objective()).vectors is None
    assert landscape.run(landscape.Eig(k=1, save_vectors=True), objective()).vectors.shape == (
        objective().space.size,
        1,
    )
    resampled = landscape.run(landscape.Eig(k=1, resample=4), objective())
    assert (resampled.data_standard_errors > 0).all()


@pytest.mark.usefixtures("large")
def test_the_average_case_needs_no_control_variate() -> None:
    result = landscape.run(landscape.Sharpness(starts=1, draws=8), objective())
    assert result.s_avg_interval[0, 0] <= result.s_avg[0] <= result.s_avg_interval[0, 1]
    assert result.scaled_trace is not None


class Blocks(nn.Module):
    """Three equal blocks between a table and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(3)])
        self.head = nn.Linear(6, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.table(tokens)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.head(hidden)


@pytest.mark.parametrize(
    "settings",
    [
        ProductSettings(recompute="on"),
        ProductSettings(weights_dtype="bfloat16"),
        ProductSettings(hvp="difference"),
    ],
    ids=["recompute", "weights-dtype", "difference"],
)
def test_the_ways_of_large_models_agree_with_each_setting(
    settings: ProductSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure() -> landscape.EigResult:
        torch.manual_seed(0)
        tokens = torch.randint(0, 11, (30,))
        subject = Objective(Blocks(), (tokens, tokens.flip(0)), "cross_entropy", settings=settings)
        return landscape.run(landscape.Eig(k=2), subject)

    small = measure()
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    assert measure().eigenvalues == pytest.approx(small.eigenvalues, rel=2e-3)
