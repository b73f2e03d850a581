"""The tempered posterior against the loss itself, its estimates from batches, its defaults, and where chains start."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Splitter, tanh_net
from token_models import Tokens, labeled_tokens
from torch import Tensor, nn

import landscape
from landscape import Objective, seeds
from landscape.analyses.llc import posterior as module
from landscape.analyses.llc.llc import Llc
from landscape.analyses.llc.posterior import (
    BatchPosterior,
    LocalPosterior,
    Temper,
    default_gamma,
    default_nbeta,
    find_starts,
)
from landscape.errors import TaskError, UsageError

sys.path.append(str(ROOT / "benchmarks"))
import llc_cases

Data = tuple[Tensor, Tensor]
TEMPER = Temper(10.0, 1.0)


def posterior_of(objective: Objective, group: str = "") -> LocalPosterior:
    """The posterior of all parameters, or of one layer."""
    groups = {one.name: one for one in objective.space.layers()}
    return LocalPosterior(
        objective, TEMPER, groups[group] if group else objective.space.whole_group(), float(objective.value())
    )


def moves_of(posterior: LocalPosterior, chains: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(posterior.size, chains, generator=generator, dtype=posterior.objective.theta.dtype)


def tokens(generator: torch.Generator) -> Objective:
    """Twelve samples of five tokens, of which one has no token that counts, and another two of them."""
    return Objective(Tokens(), [labeled_tokens(generator)], "cross_entropy", dtype="float64")


# -- all data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["", "2"], ids=["all", "layer"])
def test_phi_is_the_rise_of_the_loss_and_its_gradient(classification: Data, split: Splitter, group: str) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    posterior = posterior_of(objective, group)
    moves = moves_of(posterior)
    found = posterior(moves, 0)
    inside = torch.cat([torch.arange(begin, end) for begin, end in posterior.group.ranges])
    for chain in range(2):
        theta = objective.theta.clone()
        theta[inside] += moves[:, chain]
        loss, gradient = objective.value_and_gradient(theta)
        assert found.value[chain] == pytest.approx(10 * float(loss - objective.value()), rel=1e-10)
        torch.testing.assert_close(found.gradient[:, chain], 10 * gradient[inside], rtol=1e-9, atol=1e-12)
    assert posterior.excess(moves).numpy() == pytest.approx(found.value, rel=1e-10)


def test_without_a_displacement_nothing_rises(classification: Data) -> None:
    posterior = posterior_of(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"))
    assert posterior(torch.zeros(posterior.size, 3, dtype=torch.float64), 0).value == pytest.approx(0, abs=1e-14)


def test_a_layer_in_two_pieces_moves_alone(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(net, [classification], "cross_entropy")
    group = replace(objective.space.layers()[0], ranges=((0, 3), (30, 32)))
    posterior = LocalPosterior(objective, TEMPER, group, 0.0)
    thetas = posterior.thetas(torch.arange(1.0, 6.0)[:, None])
    moved = (thetas[:, 0] - objective.theta).round().int()
    assert moved.nonzero().flatten().tolist() == [0, 1, 2, 30, 31]
    assert moved[moved > 0].tolist() == [1, 2, 3, 4, 5]


def test_the_rises_of_the_samples_add_up_to_that_of_the_loss(classification: Data, split: Splitter) -> None:
    posterior = posterior_of(Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64"))
    moves = moves_of(posterior, 1)
    rises = posterior.sample_rises(moves[:, 0])
    assert posterior.samples_with_losses == len(rises) == 24
    assert rises.sum() == pytest.approx(float(posterior.excess(moves)), rel=1e-9)


def test_losses_of_samples_are_kept_where_they_exist_and_are_not_too_many(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(model: nn.Module, batch: Data) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    assert not posterior_of(Objective(tanh_net(), [classification], objective=own)).samples_with_losses
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    for most, kept in ((24, 24), (23, 0)):
        monkeypatch.setattr(module, "MOST_SAMPLES", most)
        assert posterior_of(objective).samples_with_losses == kept


# -- batches ---------------------------------------------------------------------------------------------------------


def test_batches_have_the_gradient_of_all_data_on_average(classification: tuple[Tensor, Tensor]) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole, temper = objective.space.whole_group(), Temper(10.0, 1.0)
    exact = LocalPosterior(objective, temper, whole, float(objective.value()))
    parts = BatchPosterior(objective, temper, whole, exact.base, samples=8, seed=0)
    moves = 0.1 * torch.ones(whole.size, 1, dtype=torch.float64)
    found = [parts(moves, step) for step in range(3)]  # an epoch
    assert np.mean([one.value[0] for one in found]) == pytest.approx(exact(moves, 0).value[0])
    assert torch.allclose(sum(one.gradient for one in found) / 3, exact(moves, 0).gradient)  # type: ignore[arg-type]


def test_starts_are_the_checkpoint_and_points_of_higher_loss_in_turn() -> None:
    case = llc_cases.powers((2, 2), 1e6, 1.0)
    objective = case.objective
    posterior = LocalPosterior(objective, Temper(1e6, 1.0), objective.space.whole_group(), 0.0)
    starts = find_starts(posterior, 4, 0)
    excess = posterior.excess(starts.positions).numpy()
    assert (excess[::2] == 0).all()
    assert ((excess[1::2] > 0) & (excess[1::2] <= 1)).all()  # half of the dimension
    assert starts.losses > 2


def test_batches_of_data_that_are_not_in_memory_are_refused() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter([(torch.ones(4, 5), torch.zeros(4, dtype=torch.long))] * 2)

    objective = Objective(tanh_net(), Stream(), "cross_entropy")
    parts = replace(objective.batches, whole=None)
    with pytest.raises(TaskError, match="draws samples from data in memory"):
        landscape.run(Llc(batch=2), objective.variant(batches=parts))


def test_samples_that_count_different_numbers_of_tokens_leave_no_bias(generator: torch.Generator) -> None:
    objective = tokens(generator)
    exact = posterior_of(objective)
    moves = moves_of(exact, 1)
    for samples in (4, 1):  # a batch of the sample without a token that counts says nothing, and is no 0 / 0
        parts = BatchPosterior(objective, TEMPER, exact.group, exact.base, samples=samples, seed=0)
        found = [parts(moves, step) for step in range(12 // samples)]
        assert np.mean([one.value[0] for one in found]) == pytest.approx(exact(moves, 0).value[0], rel=1e-9)
        mean = torch.stack([one.gradient for one in found]).mean(dim=0)
        torch.testing.assert_close(mean, exact(moves, 0).gradient, rtol=1e-8, atol=1e-10)


def test_the_noise_of_batches_vanishes_at_the_checkpoint(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole = objective.space.whole_group()
    parts = BatchPosterior(objective, TEMPER, whole, float(objective.value()), samples=2, seed=0)
    found = parts(torch.zeros(whole.size, 2, dtype=torch.float64), 5)
    assert found.value.tolist() == [0, 0]
    torch.testing.assert_close(found.gradient, 10 * objective.gradient()[:, None].expand(-1, 2), rtol=1e-10, atol=0)


def test_each_chain_sees_every_sample_once_in_an_epoch_in_an_order_of_its_own(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    parts = BatchPosterior(objective, TEMPER, objective.space.whole_group(), 0.0, samples=6, seed=0)
    begins = ((0, 0), (1, 0), (0, 4))  # a chain, and the first step of an epoch
    epochs = [[parts._places(chain, first + step) for step in range(4)] for chain, first in begins]
    assert all(sorted(np.ravel(epoch).tolist()) == list(range(24)) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 3
    assert parts._places(1, 2) == epochs[1][2]


# -- defaults --------------------------------------------------------------------------------------------------------


def test_the_temperature_counts_terms_of_the_loss(generator: torch.Generator, classification: Data) -> None:
    """24 samples; 12 times 5 tokens, of which 7 are ignored."""
    assert default_nbeta(Objective(tanh_net(), [classification], "cross_entropy")) == pytest.approx(24 / math.log(24))
    assert default_nbeta(tokens(generator)) == pytest.approx(53 / math.log(53))


def test_two_terms_have_no_temperature(classification: Data) -> None:
    x, y = classification
    assert default_nbeta(Objective(tanh_net(), [(x[:3], y[:3])], "cross_entropy")) == pytest.approx(3 / math.log(3))
    with pytest.raises(UsageError, match="of 2 terms of the loss means nothing"):
        default_nbeta(Objective(tanh_net(), [(x[:2], y[:2])], "cross_entropy"))


def test_the_localizing_gaussian_is_as_wide_as_weights_are_large() -> None:
    weights = torch.tensor([3.0, -4.0, 0.0, 5.0])
    assert default_gamma(weights) == pytest.approx(4 / 50)
    assert default_gamma(10 * weights) == pytest.approx(4 / 5000)


@pytest.mark.parametrize("value", [0.0, math.nan], ids=["zero", "nan"])
def test_weights_without_a_size_have_no_default(value: float) -> None:
    with pytest.raises(UsageError, match="all weights are zero"):
        default_gamma(torch.full((3,), value))


# -- starts ----------------------------------------------------------------------------------------------------------


def test_draws_of_the_gaussian_are_taken_as_they_are_where_the_loss_stays_low(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    posterior = LocalPosterior(objective, Temper(1e-6, 4.0), objective.space.whole_group(), float(objective.value()))
    starts = find_starts(posterior, 4, 7)
    assert not starts.positions[:, ::2].any()
    for chain in (1, 3):
        drawn = seeds.normal(39, objective.theta, 7, "start", "all", chain) / 2  # a precision of 4
        assert torch.equal(starts.positions[:, chain], drawn)
    assert starts.losses == 2
