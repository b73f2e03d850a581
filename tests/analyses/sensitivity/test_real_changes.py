"""Real changes of the loss against the loss itself, sample by sample, and resumed."""

from __future__ import annotations

import numpy as np
import torch
from analysis_contract import drained
from conftest import Splitter, tanh_net
from resumed_runs import resumed_results
from small_sensitivities import directions, together, vectors_of
from torch import Tensor

import landscape
from landscape import Objective, Sensitivity
from landscape.analyses.sensitivity.real_changes import difference_row, losses_with, measure_real_changes
from landscape.analyses.sensitivity.sample_groups import SampleGroups, sample_groups, unit_losses
from landscape.analyses.sensitivity.weight_changes import WeightChange

Data = tuple[Tensor, Tensor]
ALL = Sensitivity(bits=(8, 3), prune=(0.5,), granularity="group:3")
PAIRS = SampleGroups((2, 4), np.ones(6), np.array([0, 2, 4]), by_sample=True)


def test_real_changes_are_those_of_the_loss_in_every_batch_size(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    result, loss = landscape.run(ALL, objective), float(objective.value())
    real = [float(objective.value(objective.theta + d)) - loss for d in directions(ALL, objective)]
    np.testing.assert_allclose(result.change_real, real, rtol=1e-9, atol=1e-15)
    real = [float(objective.value(objective.theta + d)) - loss for d in together(ALL, objective)]
    np.testing.assert_allclose(result.kind_real, real, rtol=1e-9, atol=1e-15)


def test_every_group_and_unit_has_its_own_change(classification: Data, split: Splitter) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    groups = sample_groups(objective, 3)
    found = drained(measure_real_changes(objective, vectors_of(ALL, objective), ALL.changes, groups, {}))[1]
    base = unit_losses(objective, objective.theta, groups)
    np.testing.assert_array_equal(found.base, base)
    for moves, sums, errors in (
        (directions(ALL, objective), found.layers.transpose(0, 2, 1).reshape(3, -1), found.layer_errors.T.ravel()),
        (together(ALL, objective), found.together, found.joint_errors),
    ):
        rows = np.stack([unit_losses(objective, objective.theta + d, groups) - base for d in moves])
        np.testing.assert_allclose(sums, rows.reshape(len(moves), 3, 8).sum(axis=2).T, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(errors, rows.std(axis=1, ddof=1) / 24**0.5, rtol=1e-9)


def test_a_row_holds_the_sums_of_groups_and_the_error_of_the_mean() -> None:
    row = difference_row(np.zeros(6), np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), PAIRS)
    np.testing.assert_allclose(row, [3, 7, 11, (3.5 / 6) ** 0.5])


def test_a_loss_that_overflows_stays_infinite_in_its_group() -> None:
    row = difference_row(np.zeros(6), np.array([1.0, 2.0, np.inf, 0, 0, 0]), PAIRS)
    assert row[:3].tolist() == [3, np.inf, 0]
    assert not np.isfinite(row[3])


def test_equal_shifts_of_all_samples_have_no_error() -> None:
    row = difference_row(np.arange(6.0), np.arange(6.0) + 0.5, PAIRS)
    np.testing.assert_allclose(row, [1, 1, 1, 0], atol=1e-15)


def test_a_resumed_measurement_gives_the_same_bits(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    groups, vectors = sample_groups(objective, 3), vectors_of(ALL, objective)
    whole, resumed = resumed_results(lambda saved: measure_real_changes(objective, vectors, ALL.changes, groups, saved))
    assert len(resumed) == 1 + 3 * (2 + 1)  # at the weights, and for every change of each layer and of both
    for one in resumed:
        assert all(np.array_equal(getattr(one, name), getattr(whole, name)) for name in vars(whole))


def test_each_layer_changes_in_its_own_way(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    groups, vectors = sample_groups(objective, 3), vectors_of(ALL, objective)
    moves = directions(ALL, objective)  # 8 bits of both layers, then 3 bits
    found = losses_with(objective, vectors, (WeightChange(bits=8), WeightChange(bits=3)), groups)
    expected = unit_losses(objective, objective.theta + moves[0] + moves[3], groups)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert torch.equal(objective.theta, Objective(tanh_net(), [classification], "cross_entropy", dtype="float64").theta)
