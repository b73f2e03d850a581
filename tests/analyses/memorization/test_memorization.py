"""Options of memorization, and the contract that every analysis satisfies."""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_contract import AnalysisContract
from conftest import tanh_net
from memorized import FEW, fit_net, memorization_of, random_texts
from torch import Tensor

from landscape import Memorization, Objective, session
from landscape.errors import UsageError
from landscape.storage.read import read_results

Data = tuple[Tensor, Tensor]


class TestMemorization(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Memorization:
        return Memorization(**FEW)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return fit_net(classification)


class TestOfTexts(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Memorization:
        return Memorization(**FEW, labels="sampled", per_layer=False)

    @pytest.fixture
    def objective(self) -> Objective:
        return random_texts()


@pytest.mark.parametrize("bands", [(0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.2, 0.2)])
def test_edges_ascend_between_0_and_1(bands: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="--bands"):
        Memorization(bands=bands)


def test_the_stored_result_has_the_documented_names(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.run(Memorization(**FEW), fit_net(classification), output=output)
    held = read_results(output)["memorization"].values
    names = (
        "accuracy rho kept_fraction curvature_mass weight_energy delta_loss delta_loss_lo delta_loss_hi edit_damage "
    )
    names += "edit_kl input_curvature fisher_trace gradient_norm2 loss sample_loss auroc"
    assert set(names.split()) <= set(held)


def test_without_populations_the_data_itself_is_measured(classification: Data) -> None:
    found = memorization_of(Objective(tanh_net(), classification, "cross_entropy"))
    assert list(found.population) == ["data"]
    assert found.auroc is None
    assert found.sample_memorised is None
    assert found.edit_damage is not None
