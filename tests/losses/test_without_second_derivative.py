"""Losses without a second derivative are refused with measurements that work; complex weights, as pairs of reals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError
from landscape.operators import operator

FRAMES, LETTERS, SAMPLES = 12, 6, 5
SOUNDS = torch.randn(SAMPLES, FRAMES, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TEXTS = torch.randint(1, LETTERS, (SAMPLES, 3), generator=torch.Generator().manual_seed(0))


def ctc(output: Tensor, target: Tensor) -> Tensor:
    lengths = torch.full((len(target),), FRAMES), torch.full((len(target),), 3)
    return functional.ctc_loss(output.log_softmax(-1).transpose(0, 1), target, *lengths, reduction="none")


def multi_margin(output: Tensor, target: Tensor) -> Tensor:
    return functional.multi_margin_loss(output.mean(1), target[:, 0], p=2, reduction="none")


@pytest.fixture(params=[ctc, multi_margin])
def objective(request: pytest.FixtureRequest) -> Objective:
    torch.manual_seed(1)
    return Objective(nn.Linear(4, LETTERS), (SOUNDS, TEXTS), request.param, dtype="float64")


@pytest.mark.filterwarnings("ignore:There is a performance drop")
class TestNoSecondDerivative:
    @pytest.mark.parametrize(
        "analysis",
        [landscape.Eig(k=1), landscape.Trace(), landscape.Eig(k=1, operator="ggn")],
        ids=["eig", "trace", "ggn"],
    )
    def test_the_message_names_what_needs_none(self, objective: Objective, analysis: Any) -> None:
        with pytest.raises(TaskError, match=r"or the loss, has no second derivative.*\n.*--operator empirical-fisher"):
            landscape.run(analysis, objective)

    def test_the_empirical_fisher_matrix_is_that_of_the_samples_gradients(self, objective: Objective) -> None:
        rows = torch.stack([objective.batch_gradient(objective.theta, one)[1] for one in whole(objective).split(1)])
        dense = operator("empirical-fisher", objective).to_dense()
        torch.testing.assert_close(dense, rows.T @ rows / SAMPLES, rtol=1e-9, atol=1e-12)
        result = landscape.run(landscape.Eig(k=1, operator="empirical-fisher"), objective)
        assert result.eigenvalues[0] == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-3)

    @pytest.mark.parametrize("analysis", [landscape.Surface(), landscape.Sharpness()], ids=["surface", "sharpness"])
    def test_surface_and_sharpness_need_none(self, objective: Objective, analysis: Any) -> None:
        assert landscape.run(analysis, objective).trouble() is None


def whole(objective: Objective) -> Any:
    return next(iter(objective.batches))


class Spectral(nn.Module):
    """A filter in the frequencies, with complex weights or with pairs of reals."""

    def __init__(self, pairs: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        weight = torch.randn(5, dtype=torch.cdouble)
        self.pairs = pairs
        self.weight = nn.Parameter(torch.view_as_real(weight).clone() if pairs else weight)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.view_as_complex(self.weight) if self.pairs else self.weight
        return torch.fft.irfft(torch.fft.rfft(x) * weight, n=8)


def zeros() -> Spectral:
    """A factory, whose weights are those of the file afterwards."""
    model = Spectral(pairs=True)
    nn.init.zeros_(model.weight)
    return model


class TestComplexWeights:
    data = torch.randn(6, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64)

    def test_the_message_names_pairs_of_reals(self) -> None:
        with pytest.raises(
            TaskError, match=r"not real numbers: weight \(torch.complex128\)\n.*torch.view_as_real\(w\)"
        ):
            Objective(Spectral(pairs=False), self.data, "mse", dtype="float64")

    def test_pairs_of_reals_take_the_complex_weights_of_the_file(self, tmp_path: Path) -> None:
        torch.save(Spectral(pairs=False).state_dict(), tmp_path / "complex.pt")
        torch.save({"inputs": self.data[0], "targets": self.data[1]}, tmp_path / "batch.pt")
        loaded = landscape.load(
            tmp_path / "complex.pt",
            model=f"{__file__}:zeros",
            data=f"{tmp_path}/batch.pt",
            loss="mse",
            dtype="float64",
        )
        here = Objective(Spectral(pairs=True), self.data, "mse", dtype="float64")
        assert torch.equal(loaded.theta, here.theta)
        torch.testing.assert_close(operator("hessian", loaded).to_dense(), operator("hessian", here).to_dense())
