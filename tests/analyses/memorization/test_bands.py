"""Bands of components against their removal by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis_contract import drained
from memorized import fit_net, memorization_of
from torch import Tensor, nn

from landscape import Memorization
from landscape.algorithms.estimators.resampling import bootstrap
from landscape.algorithms.matrices.removal import Eigenbasis, RotatedComponents
from landscape.analyses.memorization.bands import Bands, FunctionalSpectrum, band_columns
from landscape.analyses.memorization.decompositions import Decompositions
from landscape.analyses.memorization.factors import measure_factors
from landscape.analyses.memorization.setup import curvature_setup
from landscape.evaluation.per_sample.outcomes import SampleOutcomes
from landscape.seeds import derive

Data = tuple[Tensor, Tensor]


def accuracy_and_loss(net: nn.Module, data: Data) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(net(data[0].double()), data[1]))


def test_removing_a_band_is_removing_those_components_by_hand(classification: Data) -> None:
    objective = fit_net(classification, dtype="float64")
    found = memorization_of(objective, labels="gold")
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


def test_one_layer_alone_is_the_joint_removal(classification: Data) -> None:
    found = memorization_of(fit_net(classification, dtype="float64"), layers=("2",))
    assert found.layer_delta_loss is not None
    assert np.allclose(found.layer_delta_loss[:, 0], found.delta_loss, atol=1e-12)


def test_intervals_hold_the_change_and_controls_are_others(classification: Data) -> None:
    found = memorization_of(fit_net(classification))
    assert (found.delta_loss_lo <= found.delta_loss + 1e-12).all()
    assert (found.delta_loss <= found.delta_loss_hi + 1e-12).all()
    assert found.noise_delta_loss is not None
    assert found.random_delta_loss is not None
    assert not np.allclose(found.noise_delta_loss, found.delta_loss)
    assert not np.allclose(found.random_delta_loss, found.delta_loss)
    assert memorization_of(fit_net(classification), controls=0).noise_delta_loss is None


def test_bands_hold_every_component_once(classification: Data) -> None:
    assert memorization_of(fit_net(classification)).band_components.tolist() == [3 + 2, 12 + 10, 15 + 12]


def test_edges_are_rounded_to_components(classification: Data) -> None:
    found = memorization_of(fit_net(classification), bands=(0.05, 0.5), layers=("0",))
    assert found.band_components.tolist() == [2, 13, 15]  # 30 components: 1.5 is 2


def test_controls_are_means_over_draws() -> None:

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
    objective = fit_net(classification)
    objective.populations = {"one": (x[:1], y[:1])}
    found = memorization_of(objective)
    assert np.isnan(found.delta_loss_lo).all()
    assert np.isnan(found.delta_loss_hi).all()


class TestTheBandsOfDesignedEigenvalues:
    @pytest.fixture
    def method(self) -> RotatedComponents:
        """Components of masses [[8, 4], [2, 1]]."""
        left = Eigenbasis(torch.eye(2).double(), np.array([4.0, 1.0]))
        right = Eigenbasis(torch.eye(2).double(), np.array([2.0, 1.0]))
        return RotatedComponents(torch.ones(2, 2), left, right)

    def test_each_band_holds_the_components_of_its_ranks(self, method: RotatedComponents) -> None:
        bands = Bands((0.0, 0.25, 0.75, 1.0))
        masks = [bands.mask(method, band).tolist() for band in range(3)]
        assert masks == [
            [[True, False], [False, False]],
            [[False, True], [True, False]],
            [[False, False], [False, True]],
        ]

    def test_a_band_between_two_edges_of_one_rank_is_empty(self, method: RotatedComponents) -> None:
        bands = Bands((0.0, 0.3, 0.31, 1.0))
        assert bands.counts(4) == [0, 1, 1, 4]
        assert not bands.mask(method, 1).any()

    def test_names_are_percentages(self) -> None:
        assert Bands((0.0, 0.001, 0.5, 1.0)).names == ["0-0.1 %", "0.1-50 %", "50-100 %"]


def flat(spectrum: FunctionalSpectrum, point: str) -> Tensor:
    """Theta `(P,)` at a point."""
    theta = spectrum.points(per_layer=True)[point]()
    return theta if isinstance(theta, Tensor) else spectrum.objective.space.flatten(theta)


class TestThePointsOfASpectrum:
    @pytest.fixture
    def spectrum(self, classification: Data) -> FunctionalSpectrum:
        objective = fit_net(classification, dtype="float64")
        setup = curvature_setup(Memorization(), objective)
        _, factors = drained(measure_factors(setup, {}))
        methods = Decompositions(objective, setup.layers, factors).kfac()
        return FunctionalSpectrum(objective, setup.layers, methods, Bands((0.0, 0.5, 1.0)), controls=2, seed=0)

    def test_they_are_the_bands_their_controls_and_the_layers(self, spectrum: FunctionalSpectrum) -> None:
        points = list(spectrum.points(per_layer=True))
        assert points[0] == "unchanged"
        assert len(points) == 1 + 2 * (1 + 2 * 2) + 2 * 2
        assert {"band 1", "noise 0 draw 1", "random 1 draw 0", "layer 2 band 1"} <= set(points)
        assert len(spectrum.points(per_layer=False)) == len(points) - 2 * 2

    def test_the_bands_sum_to_the_weights_of_the_layers(self, spectrum: FunctionalSpectrum) -> None:
        theta = spectrum.objective.theta
        removed = sum(theta - flat(spectrum, f"band {band}") for band in range(2))
        views = spectrum.objective.space.unflatten(removed)
        for name, part in spectrum.objective.space.unflatten(theta).items():
            expected = part if name in ("0.weight", "2.weight") else torch.zeros_like(part)
            assert torch.allclose(views[name], expected, atol=1e-13)

    def test_noise_has_the_norm_of_the_band_and_draws_differ(self, spectrum: FunctionalSpectrum) -> None:
        space, theta = spectrum.objective.space, spectrum.objective.theta
        moved = [space.unflatten(flat(spectrum, name) - theta) for name in ("band 0", "noise 0 draw 0")]
        for name in ("0.weight", "2.weight"):
            norms = [float(part[name].norm()) for part in moved]
            assert norms[0] == pytest.approx(norms[1], rel=1e-12)
        assert not torch.equal(flat(spectrum, "noise 0 draw 0"), flat(spectrum, "noise 0 draw 1"))

    def test_a_point_shares_with_the_objective_what_it_does_not_change(self, spectrum: FunctionalSpectrum) -> None:
        own = spectrum.objective.space.unflatten(spectrum.objective.theta)
        point = spectrum.points(per_layer=True)["layer 2 band 1"]()
        assert not isinstance(point, Tensor)
        assert {name for name in own if point[name].data_ptr() != own[name].data_ptr()} == {"2.weight"}


def test_intervals_are_drawn_from_the_seed_of_the_stored_name() -> None:
    """Results of versions that wrote `memorised` keep their intervals."""
    losses = torch.tensor([1.0, 2.0, 4.0, 8.0]).double()
    ones = torch.ones(4).double()
    measured = {"unchanged": {"memorized": SampleOutcomes(0 * ones, ones, ones)}}
    measured |= {f"band {band}": {"memorized": SampleOutcomes(losses * (band + 1), ones, ones)} for band in range(2)}
    columns = band_columns(measured, ["memorized"], Bands((0.0, 0.5, 1.0)), ["x"], 0, 40, 7)
    changes = np.stack([losses.numpy(), 2 * losses.numpy()], axis=1)
    low, high = bootstrap(changes, ones.numpy(), 40, derive(7, "bootstrap", "memorised"))
    assert np.array_equal(columns["delta_loss_lo"][0], low)
    assert np.array_equal(columns["delta_loss_hi"][0], high)
