"""Spectra, bands and scores against their definitions, and the known answers of two samples."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained
from conftest import SAMPLES, tanh_net
from memorized import fitted
from torch import Tensor, nn

import landscape
from landscape import Memorization, Objective, session, zoo
from landscape.analyses.memorization.memorization_measurement import RHOS
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.evaluation.per_sample import outcomes
from landscape.storage.read import read_results

Data = tuple[Tensor, Tensor]


FEW: dict[str, Any] = {"bands": (0.1, 0.5), "controls": 1, "resamples": 50}


def texts() -> Objective:
    """A transformer of one layer on random texts, four of which are called memorized and are not in the data."""
    torch.manual_seed(0)
    net = zoo.char_transformer(vocabulary=9, length=8, width=8, heads=2, layers=1)
    ids = torch.randint(0, 9, (14, 9), generator=torch.Generator().manual_seed(0))
    pairs = {"memorized": (ids[:4, :-1], ids[:4, 1:]), "clean": (ids[4:, :-1], ids[4:, 1:])}
    return Objective(net, (ids[4:, :-1], ids[4:, 1:]), "cross_entropy", populations=pairs)


class TestMemorization(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Memorization:
        return Memorization(**FEW)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return fitted(classification)


class TestOfTexts(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Memorization:
        return Memorization(**FEW, labels="sampled", per_layer=False)

    @pytest.fixture
    def objective(self) -> Objective:
        return texts()


def measured(objective: Objective, **options: Any) -> MemorizationResult:
    result: MemorizationResult = landscape.run(Memorization(**{**FEW, **options}), objective)
    return result


def accuracy_and_loss(net: nn.Module, data: Data) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(net(data[0].double()), data[1]))


class TestBands:
    def test_removing_a_band_is_removing_those_components_by_hand(self, classification: Data) -> None:
        objective = fitted(classification, dtype="float64")
        found = measured(objective, labels="gold")
        net = objective.model.double()
        x, y = classification
        first = net[0].weight.detach().clone()
        hidden = net[0](x[:16].double())
        loss = nn.functional.cross_entropy(net[1:](hidden), y[:16], reduction="sum")
        (g,) = torch.autograd.grad(loss, hidden)
        mu, v = torch.linalg.eigh(x[:16].double().T @ x[:16].double() / 16)
        lam, u = torch.linalg.eigh(g.T @ g / 16)
        mass = torch.outer(lam, mu).flatten()
        coordinates = (u.T @ first @ v).flatten()
        order = mass.argsort(descending=True)
        edges = [0, 3, 15, 30]
        assert list(found.layer) == ["0", "2"]
        for band in range(3):
            left = coordinates.clone()
            left[order[edges[band] : edges[band + 1]]] = 0
            with torch.no_grad():
                net[0].weight.copy_(u @ left.view(6, 5) @ v.T)
            for place, part in enumerate((slice(0, 6), slice(6, 16), slice(16, 24))):
                data = (x[part], y[part])
                change = accuracy_and_loss(net, data) - found.population_loss[place]
                assert found.layer_delta_loss is not None
                assert found.layer_delta_loss[place, 0, band] == pytest.approx(change, abs=1e-9)
            with torch.no_grad():
                net[0].weight.copy_(first)

    def test_one_layer_alone_is_the_joint_removal(self, classification: Data) -> None:
        found = measured(fitted(classification, dtype="float64"), layers=("2",))
        assert found.layer_delta_loss is not None
        assert np.allclose(found.layer_delta_loss[:, 0], found.delta_loss, atol=1e-12)

    def test_intervals_hold_the_change_and_controls_are_others(self, classification: Data) -> None:
        found = measured(fitted(classification))
        assert (found.delta_loss_lo <= found.delta_loss + 1e-12).all()
        assert (found.delta_loss <= found.delta_loss_hi + 1e-12).all()
        assert found.noise_delta_loss is not None
        assert found.random_delta_loss is not None
        assert not np.allclose(found.noise_delta_loss, found.delta_loss)
        assert not np.allclose(found.random_delta_loss, found.delta_loss)
        assert measured(fitted(classification), controls=0).noise_delta_loss is None

    def test_bands_hold_every_component_once(self, classification: Data) -> None:
        assert measured(fitted(classification)).band_components.tolist() == [3 + 2, 12 + 10, 15 + 12]

    @pytest.mark.parametrize("bands", [(0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.2, 0.2)])
    def test_edges_ascend_between_0_and_1(self, bands: tuple[float, ...]) -> None:
        with pytest.raises(UsageError, match="--bands"):
            Memorization(bands=bands)


class TestSpectra:
    def test_eigenvalues_and_mass_are_those_of_the_factors(self, classification: Data) -> None:
        objective = fitted(classification, dtype="float64")
        found = measured(objective, labels="gold")
        x = classification[0][:16].double()
        assert np.allclose(found.activation_eigenvalues[0, :5], torch.linalg.eigvalsh(x.T @ x / 16).flip(0), atol=1e-12)
        assert np.isnan(found.activation_eigenvalues[0, 5:]).all()
        lam, mu = found.gradient_eigenvalues[0, :6], found.activation_eigenvalues[0, :5]
        mass = np.sort(np.outer(lam, mu).ravel())[::-1]
        assert found.layer_trace[0] == pytest.approx(mass.sum(), rel=1e-12)
        counts = np.maximum(1, np.round(found.share * 30)).astype(int)
        assert np.allclose(found.component_mass[0], mass[counts - 1], rtol=1e-12)
        assert np.allclose(found.cumulative_mass[0], np.cumsum(mass)[counts - 1] / mass.sum(), rtol=1e-12)

    def test_everything_is_kept_at_rho_1_and_shares_grow(self, classification: Data) -> None:
        found = measured(fitted(classification))
        assert tuple(found.rho) == RHOS
        for values in (found.kept_fraction, found.curvature_mass, found.weight_energy):
            assert values[-1] == 1
            assert (np.diff(values) >= 0).all()
        assert (found.curvature_mass >= found.rho - 1e-12).all()
        assert (found.layer_kept_fraction[:, -1] == 1).all()

    def test_activation_ratios_are_shares_of_energy_in_quarters(self, classification: Data) -> None:
        objective = fitted(classification, dtype="float64")
        found = measured(objective, layers=("2",))
        with torch.no_grad():
            hidden = objective.model.double()[:2](classification[0].double())
        _, v = torch.linalg.eigh(hidden[:16].T @ hidden[:16])
        energy = (hidden @ v.flip(1)).square()
        ends = [0, 1, 3, 4, 6]

        def shares(part: slice) -> Tensor:
            sums = torch.stack([energy[part, a:b].sum() for a, b in pairwise(ends)])
            return sums / sums.sum()

        wanted = [shares(part) / shares(slice(6, 16)) for part in (slice(0, 6), slice(6, 16), slice(16, 24))]
        assert np.allclose(found.activation_ratio, torch.stack(wanted), atol=1e-10)


class TestPopulations:
    def test_what_is_in_the_factors_data_is_said(self, classification: Data) -> None:
        found = measured(fitted(classification))
        assert found.population_in_factors.tolist() == [1, 1, 0]
        assert any("in the factors' own data: 100 % of memorized" in said for said in found.remarks())
        apart = measured(fitted(classification), factors_on="held-out")
        assert apart.population_in_factors.tolist() == [0, 0, 1]

    def test_a_missing_control_is_said(self, classification: Data) -> None:
        assert any("never-seen" in said and "rarity" in said for said in measured(fitted(classification)).remarks())

    def test_without_populations_the_data_itself_is_measured(self, classification: Data) -> None:
        found = measured(Objective(tanh_net(), classification, "cross_entropy"))
        assert list(found.population) == ["data"]
        assert found.auroc is None
        assert found.sample_memorised is None
        assert found.edit_damage is not None

    def test_memorized_samples_that_the_data_lack_are_scored_behind_them(self) -> None:
        found = measured(texts(), per_layer=False)
        assert found.sample_memorised is not None
        assert found.sample_memorised.tolist() == [False] * 10 + [True] * 4
        assert found.recitation is not None


class TestFactorsAreKept:
    def test_a_second_run_takes_those_beside_the_result(self, classification: Data, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        one = session.run(Memorization(**FEW), fitted(classification), output=output)
        objective = fitted(classification)
        steps: list[str] = []
        two = session.run(
            Memorization(**{**FEW, "resamples": 60}), objective, output=output, report=lambda p: steps.append(p.note)
        )
        assert "the factors are those in a.factors.safetensors" in two.notes
        assert "factors" not in steps
        assert np.array_equal(one.delta_loss, two.delta_loss)

    @pytest.mark.parametrize(
        "change",
        [{"labels": "gold"}, {"layers": ("0",)}, {"factors_on": "clean"}, {"seed": 3, "labels": "sampled"}],
        ids=str,
    )
    def test_those_of_another_curvature_are_not(
        self, classification: Data, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        output = tmp_path / "a.landscape.h5"
        first = {"labels": "sampled"} if "seed" in change else {}
        session.run(Memorization(**FEW, **first), fitted(classification), output=output)
        steps: list[str] = []
        session.run(
            Memorization(**{**FEW, **change}),
            fitted(classification),
            output=output,
            report=lambda p: steps.append(p.note),
        )
        assert "factors" in steps

    def test_a_damaged_sidecar_is_measured_again(self, classification: Data, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        session.run(Memorization(**FEW), fitted(classification), output=output)
        (tmp_path / "a.factors.safetensors").write_bytes(b"no")
        assert session.run(Memorization(**FEW), fitted(classification), output=output).loss > 0


class TestWhatCannotBeMeasured:
    def test_a_net_without_linear_layers(self) -> None:
        net = nn.Sequential(nn.Embedding(5, 3))
        objective = Objective(net, (torch.tensor([1, 2]), torch.tensor([0, 2])), "cross_entropy")
        with pytest.raises(TaskError, match="no linear layer"):
            measured(objective)

    def test_a_glob_that_matches_nothing(self, classification: Data) -> None:
        with pytest.raises(UsageError, match=r"--layers 9(.|\n)*glob over 0, 2, 4"):
            measured(fitted(classification), layers=("9",))

    def test_a_flat_loss_is_inconclusive(self, classification: Data) -> None:
        net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        nn.init.zeros_(net[2].weight)
        found = measured(Objective(net, classification, "cross_entropy"))
        assert "the curvature of 0 is zero" in str(found.trouble())


def test_a_trajectory_averages_the_scores() -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    last = sorted(folder.glob("*.pt"))[-1]
    objective = landscape.load(last, limit=40)
    found = measured(objective, trajectory=str(folder), per_layer=False)
    assert found.checkpoints == 10
    losses = [
        outcomes.sample_outcomes(landscape.load(path, limit=40)).means.numpy() for path in sorted(folder.glob("*.pt"))
    ]
    assert np.allclose(found.trajectory_loss, np.mean(losses, axis=0), rtol=1e-5)


@pytest.fixture(scope="module")
def noisy() -> MemorizationResult:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    result: MemorizationResult = landscape.run(Memorization(per_layer=False, controls=1), objective)
    return result


class TestTheNoisySample:
    """Wrong labels sit in flat components; docs/memorization.md has the figures of three seeds."""

    def test_memorized_samples_lose_far_more_in_flat_bands_and_clean_ones_in_the_sharpest(
        self, noisy: MemorizationResult
    ) -> None:
        names = list(noisy.population)
        ratio = noisy.delta_loss[names.index("memorized")] / noisy.delta_loss[names.index("clean")]
        assert ratio[0] < 1
        assert (ratio[3:] > 20).all()

    def test_scores_find_wrong_labels(self, noisy: MemorizationResult) -> None:
        assert noisy.score is not None
        assert noisy.auroc is not None
        found = dict(zip(noisy.score, noisy.auroc, strict=True))
        assert found["edit_damage"] > 0.97
        assert found["edit_kl"] > 0.95
        assert found["input_curvature"] > 0.95
        assert min(found.values()) > 0.9
        assert found["edit_damage"] > found["loss"]
        assert noisy.sample_memorised is not None
        assert int(noisy.sample_memorised.sum()) == 130

    def test_ranks_are_by_edit_damage(self, noisy: MemorizationResult) -> None:
        assert noisy.rank_sample is not None
        assert noisy.edit_damage is not None
        assert noisy.is_memorised is not None
        assert np.array_equal(noisy.edit_damage[noisy.rank_sample], np.sort(noisy.edit_damage)[::-1][:20])
        assert noisy.is_memorised.mean() > 0.8

    def test_the_activations_of_wrong_labels_are_those_of_their_true_ones(self, noisy: MemorizationResult) -> None:
        names = list(noisy.population)
        pair = [noisy.activation_ratio[names.index(name)] for name in ("memorized", "truth")]
        assert np.array_equal(*pair)  # the same inputs: the ratio cannot tell memorization


def test_the_stored_result_has_the_documented_names(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.run(Memorization(**FEW), fitted(classification), output=output)
    held = read_results(output)["memorization"].values
    names = (
        "accuracy rho kept_fraction curvature_mass weight_energy delta_loss delta_loss_lo delta_loss_hi edit_damage "
    )
    names += "edit_kl input_curvature fisher_trace gradient_norm2 loss sample_loss auroc"
    assert set(names.split()) <= set(held)


def test_resuming_goes_on_in_every_phase(classification: Data) -> None:
    notes = {step.note.split(",")[0] for step in drained(Memorization(**FEW).measure(fitted(classification)))[0]}
    assert {"factors", "bands", "scores"} <= notes


def test_edges_are_rounded_to_components(classification: Data) -> None:
    found = measured(fitted(classification), bands=(0.05, 0.5), layers=("0",))
    assert found.band_components.tolist() == [2, 13, 15]  # 30 components: 1.5 is 2


def test_controls_are_means_over_draws() -> None:
    from landscape.analyses.memorization.bands import Bands, band_columns
    from landscape.evaluation.per_sample.outcomes import SampleOutcomes

    def outcome(loss: float) -> SampleOutcomes:
        return SampleOutcomes(torch.full((4,), loss).double(), torch.ones(4).double(), torch.ones(4).double())

    found = {"unchanged": {"a": outcome(1.0)}}
    for band in range(2):
        found[f"band {band}"] = {"a": outcome(2.0 + band)}
        for kind in ("noise", "random"):
            for draw in range(3):
                found[f"{kind} {band} draw {draw}"] = {"a": outcome(1.0 + draw**2 + band)}
    columns = band_columns(found, ["a"], Bands((0.0, 0.5, 1.0)), ["x"], 3, 20, 0)
    assert np.allclose(columns["noise_delta_loss"], [[5 / 3, 5 / 3 + 1]])
    assert np.allclose(columns["random_delta_loss"], columns["noise_delta_loss"])
    assert np.allclose(columns["delta_loss"], [[1, 2]])


def test_one_sample_has_no_interval(classification: Data) -> None:
    x, y = classification
    objective = fitted(classification)
    objective.populations = {"one": (x[:1], y[:1])}
    found = measured(objective)
    assert np.isnan(found.delta_loss_lo).all()
    assert np.isnan(found.delta_loss_hi).all()


def test_padding_has_no_share_in_activation_ratios() -> None:
    ids = torch.randint(0, 9, (14, 9), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    padded = targets[:4].clone()
    padded[:, 4:] = -100
    torch.manual_seed(0)
    net = zoo.char_transformer(vocabulary=9, length=8, width=8, heads=2, layers=1)
    pairs = {"clean": (inputs, targets), "memorized": (inputs[:4], padded), "short": (inputs[:4, :4], targets[:4, :4])}
    objective = Objective(net, (inputs, targets), "cross_entropy", populations=pairs, dtype="float64")
    found = measured(objective, per_layer=False, scores=False)
    rows = dict(zip(found.population, found.activation_ratio, strict=True))
    assert np.allclose(rows["memorized"], rows["short"], atol=1e-10)


def test_samples_without_a_target_are_left_out_of_the_aurocs(classification: Data) -> None:
    x, y = classification
    ignored = y.clone()
    ignored[10] = -100
    objective = fitted(classification)
    objective = Objective(
        objective.model, (x[:16], ignored[:16]), "cross_entropy", populations={"memorized": (x[:6], y[:6])}
    )
    found = measured(objective)
    assert found.auroc is not None
    assert np.isfinite(found.auroc).all()
    assert "1 samples have no target that counts, and no scores" in found.remarks()


def test_a_population_whose_loss_is_not_finite_is_named(classification: Data) -> None:
    _, y = classification
    objective = fitted(classification)
    objective.populations = {"clean": (torch.full((2, 5), torch.inf), y[:2])}
    for analysis in (Memorization(**FEW), landscape.Edit(max_loss_increase=0.1)):
        with pytest.raises(NumericalError, match=r"population is not finite: clean"):
            landscape.run(analysis, objective)


def test_a_folder_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(SAMPLES / "digits-mlp-trajectory", "own run")
    objective = landscape.load(sorted(Path("own run").glob("*.pt"))[-1], limit=20)
    found = measured(objective, trajectory="own run", per_layer=False)
    assert found.trajectory_loss is not None


def test_a_layer_before_a_tied_head_is_no_head(classification: Data) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.up, self.down, self.head = (
                nn.Embedding(9, 4),
                nn.Linear(4, 6),
                nn.Linear(6, 4),
                nn.Linear(4, 9, bias=False),
            )
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = self.head(self.down(self.up(self.table(ids)).tanh()))
            return out

    ids = torch.randint(0, 9, (6, 5), generator=torch.Generator().manual_seed(0))
    objective = Objective(Tied(), (ids[:, :-1], ids[:, 1:]), "cross_entropy")
    assert list(measured(objective, scores=False).layer) == ["up", "down"]


def test_factors_of_another_model_of_the_same_weights_are_not_taken(classification: Data, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.run(Memorization(**FEW), fitted(classification), output=output)
    other = fitted(classification)
    other.model[1] = nn.ReLU()
    other = Objective(other.model, (classification[0][:16], classification[1][:16]), "cross_entropy")
    fresh = session.run(Memorization(**FEW), other)
    again = session.run(Memorization(**FEW), other, output=output)
    assert np.array_equal(fresh.layer_trace, again.layer_trace)


def test_memorized_samples_are_scored_once_whether_the_data_hold_them_or_not(classification: Data) -> None:
    x, y = classification
    objective = fitted(classification)
    objective.populations = {"memorized": (x[12:20], y[12:20])}  # four of them in the data
    found = measured(objective)
    assert found.sample_memorised is not None
    assert found.sample_memorised.tolist() == [False] * 12 + [True] * 4 + [True] * 4
    alone = outcomes.sample_outcomes(Objective(objective.model, (x[16:20], y[16:20]), "cross_entropy")).means
    assert np.allclose(found.sample_loss[16:], alone, rtol=1e-6)


def test_medians_and_trajectories_are_those_of_their_kind(classification: Data) -> None:
    folder = SAMPLES / "digits-mlp-trajectory"
    paths = sorted(folder.glob("*.pt"))
    objective = landscape.load(paths[-1], limit=30)
    batch = next(iter(objective.batches))
    objective.populations = {"memorized": (batch.inputs[:5], batch.targets[:5])}
    found = measured(objective, trajectory=str(folder), per_layer=False)
    names = list(found.score)
    assert found.score_other[names.index("loss")] == pytest.approx(np.median(found.sample_loss[5:]))
    assert found.score_memorised[names.index("loss")] == pytest.approx(np.median(found.sample_loss[:5]))
    own = [measured(landscape.load(path, limit=30), per_layer=False, controls=0).gradient_norm2 for path in paths]
    assert np.allclose(found.trajectory_gradient_norm2, np.mean(own, axis=0), rtol=1e-3)
